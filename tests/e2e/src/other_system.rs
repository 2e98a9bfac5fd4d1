use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::{Answer, Client};

use crate::{hex_code, signed};

/// Another system, which sends webhooks.
#[derive(Clone, Debug)]
pub struct OtherSystem {
    /// Without an API key.
    pub client: Client,
    pub dialect: &'static str,
    /// The source's.
    pub url: String,
    pub secret: String,
}

/// Headers and body of a request.
pub type Request = (Vec<(&'static str, String)>, String);

impl OtherSystem {
    /// Makes a source of the tenant's; the other system is told its URL and its secret.
    pub async fn new(tenant: &Client, dialect: &'static str, more: Value) -> Result<Self> {
        let mut source = json!({"dialect": dialect});
        if let (Some(source), Value::Object(more)) = (source.as_object_mut(), more) {
            source.extend(more);
        }
        let made = tenant.post("/v1/sources", &source).await?.expect(201)?;
        let text = |name: &str| made[name].as_str().map(str::to_owned);
        Ok(Self {
            client: tenant.with_key(None),
            dialect,
            url: text("url").context("a URL")?,
            secret: text("secret").context("a secret")?,
        })
    }

    /// A webhook about a license.
    pub fn webhook(&self, event_type: &str, id: &str, license: &str) -> Request {
        let at = "2026-04-15T12:00:00.000Z";
        let license_data = json!({"license": {"id": license}});
        let body = match self.dialect {
            "standard" => json!({"type": event_type, "timestamp": at, "data": license_data}),
            "cloudevents" => json!({"specversion": "1.0", "id": id, "source": "/tenants/theirs",
                "type": event_type, "time": at, "data": license_data}),
            "keyport" => {
                json!({"id": id, "type": event_type, "created": at, "data": license_data})
            }
            "licvalidator" => json!({"event": event_type, "timestamp": at, "deliveryId": id,
                "data": {"licenseId": license}}),
            other => panic!("{other}"),
        };
        self.sign(id, body.to_string())
    }

    /// A body, and the headers that sign it.
    pub fn sign(&self, id: &str, body: String) -> Request {
        let code = || hex_code(&self.secret, &body);
        let mut headers = match self.dialect {
            "keyport" => vec![("x-keyport-signature", format!("sha256={}", code()))],
            "licvalidator" => vec![("x-webhook-signature", code())],
            _ => signed(&self.secret, id, &body).into(),
        };
        let content_type = match self.dialect {
            "cloudevents" => "application/cloudevents+json",
            _ => "application/json",
        };
        headers.push(("content-type", content_type.to_owned()));
        (headers, body)
    }

    /// Sends a webhook to the source.
    pub async fn send(&self, (headers, body): Request) -> Result<Answer> {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.client
            .post_raw(&self.url, &headers, body.into_bytes())
            .await
    }
}
