//! The management API, as far as the bench uses it: blocking calls, one connection each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::http;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer than the gate of the receiver is ever closed.
const TIMEOUT_S: u32 = 30;
/// Endpoints a tenant of the largest plan may have.
pub(crate) const ENDPOINTS_PER_TENANT_MAX: usize = 50;

/// A client with an operator key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin<'a> {
    pub api: SocketAddr,
    pub key: &'a str,
}

impl Admin<'_> {
    pub(crate) fn create_tenant(self, id: &str) -> anyhow::Result<()> {
        let tenant = json!({"id": id, "name": id, "plan": "enterprise"});
        self.post(None, "/v1/tenants", &tenant).map(|_| ())
    }

    /// Creates an endpoint for the events of `product`; answers its id.
    pub(crate) fn create_endpoint(
        self,
        tenant: &str,
        product: &str,
        url: &str,
    ) -> anyhow::Result<String> {
        let endpoint = json!({
            "url": url, "dialect": "standard", "event_types": ["*"], "product": product,
            "timeout_s": TIMEOUT_S,
        });
        let created = self.post(Some(tenant), "/v1/endpoints", &endpoint)?;
        Ok(created["id"]
            .as_str()
            .context("an endpoint without an id")?
            .to_owned())
    }

    pub(crate) fn disable(self, tenant: &str, endpoint: &str) -> anyhow::Result<()> {
        self.post(
            Some(tenant),
            &format!("/v1/endpoints/{endpoint}/disable"),
            &json!({}),
        )
        .map(|_| ())
    }

    /// Enables an endpoint and releases what it holds.
    pub(crate) fn enable(self, tenant: &str, endpoint: &str) -> anyhow::Result<()> {
        let path = format!("/v1/endpoints/{endpoint}/enable");
        self.post(Some(tenant), &path, &json!({"held": "deliver"}))
            .map(|_| ())
    }

    fn post(self, tenant: Option<&str>, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = body.to_string();
        let tenant = tenant.map(|tenant| format!("fanfare-tenant: {tenant}\r\n"));
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             {}content-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.api,
            self.key,
            tenant.unwrap_or_default(),
            body.len()
        );
        let (status, answer) = exchange(self.api, &request)?;
        let text = String::from_utf8_lossy(&answer);
        ensure!((200..300).contains(&status), "POST {path}: {status} {text}");
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }
}

/// Whether the process at `api` says that it is ready.
pub(crate) fn is_ready(api: SocketAddr) -> bool {
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\n\r\n");
    exchange(api, &request).is_ok_and(|(status, _)| status == 200)
}

fn exchange(api: SocketAddr, request: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(api)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = http::head(&answer)
        .ok()
        .flatten()
        .context("an unreadable answer")?;
    let status = http::status(&answer).context("an answer without a status")?;
    Ok((status, answer.split_off(head.head_bytes)))
}
