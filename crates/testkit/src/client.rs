use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{OPERATOR_KEY, eventually};

/// Longer than any answer Fanfare may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// An HTTP answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Arc<reqwest::header::HeaderMap>,
    pub body: bytes::Bytes,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer's JSON, if its status is `status`.
    pub fn expect(self, status: u16) -> Result<Value> {
        ensure!(
            self.status == status,
            "{} instead of {status}: {}",
            self.status,
            self.text()
        );
        Ok(self.json())
    }
}

/// Somebody who calls the API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
    tenant: Option<String>,
}

impl Client {
    /// With the operator key, on behalf of no tenant yet.
    pub fn operator(base: &str) -> Result<Self> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _installed_meanwhile = rustls::crypto::ring::default_provider().install_default();
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .pool_max_idle_per_host(64)
            .build()?;
        let key = Some(OPERATOR_KEY.to_owned());
        Ok(Self {
            http,
            base: base.to_owned(),
            key,
            tenant: None,
        })
    }

    /// The same on behalf of a tenant, which exists already.
    #[must_use]
    pub fn for_tenant(&self, tenant: &str) -> Self {
        Self {
            tenant: Some(tenant.to_owned()),
            ..self.clone()
        }
    }

    /// On whose behalf it calls.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The same with a tenant's own key, or with none.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self {
            key: key.map(str::to_owned),
            tenant: None,
            ..self.clone()
        }
    }

    /// The same against another instance.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// Makes a tenant and answers a client on its behalf.
    pub async fn new_tenant(&self, id: &str) -> Result<Self> {
        let tenant = json!({"id": id, "name": id, "plan": "enterprise"});
        self.post("/v1/tenants", &tenant)
            .await?
            .expect(201)
            .context("POST /v1/tenants")?;
        Ok(self.for_tenant(id))
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send_json(Method::POST, path, body).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send_json(Method::PATCH, path, body).await
    }

    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    pub async fn options(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.send(Method::OPTIONS, path, headers, Vec::new()).await
    }

    /// A body exactly as given.
    pub async fn post_raw(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer> {
        self.send(Method::POST, path, headers, body).await
    }

    async fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, serde_json::to_vec(body)?)
            .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .body(body);
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("fanfare-tenant", tenant);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: Arc::new(response.headers().clone()),
            body: response.bytes().await?,
        })
    }

    /// Makes an endpoint in the dialect `standard` that wants everything; `more` is merged in.
    /// Answers it with its secret.
    pub async fn create_endpoint(&self, url: &str, more: Value) -> Result<Value> {
        let mut endpoint = json!({"url": url, "dialect": "standard", "event_types": ["*"]});
        if let (Value::Object(endpoint), Value::Object(more)) = (&mut endpoint, more) {
            endpoint.extend(more);
        }
        self.post("/v1/endpoints", &endpoint)
            .await?
            .expect(201)
            .context("POST /v1/endpoints")
    }

    /// Publishes one event; answers the 202's body.
    pub async fn publish(&self, event: &Value) -> Result<Value> {
        self.post("/v1/events", event)
            .await?
            .expect(202)
            .context("POST /v1/events")
    }

    /// The deliveries of an event, with their attempts.
    pub async fn deliveries_of(&self, event: &str) -> Result<Vec<Value>> {
        let list = self
            .get(&format!("/v1/deliveries?event={event}"))
            .await?
            .expect(200)?;
        let mut deliveries = Vec::new();
        for item in list["items"].as_array().context("a list")? {
            let id = item["id"].as_str().context("an id")?;
            deliveries.push(
                self.get(&format!("/v1/deliveries/{id}"))
                    .await?
                    .expect(200)?,
            );
        }
        Ok(deliveries)
    }

    /// Waits until the only delivery of an event satisfies `condition`; answers it.
    pub async fn delivery_when(
        &self,
        event: &str,
        limit: Duration,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let from = Instant::now();
        let found = eventually("the delivery's condition", limit, async || {
            last = self.deliveries_of(event).await.ok()?.into_iter().next()?;
            condition(&last).then(|| last.clone())
        });
        let found = found.await;
        found.with_context(|| format!("after {:?} the delivery is {last:#}", from.elapsed()))
    }

    /// Waits until the only delivery of an event has a status; answers it.
    pub async fn delivery_with_status(
        &self,
        event: &str,
        status: &str,
        limit: Duration,
    ) -> Result<Value> {
        self.delivery_when(event, limit, |delivery| delivery["status"] == status)
            .await
    }

    /// How many deliveries of an endpoint have a status, counted through the whole list.
    pub async fn count_deliveries(&self, endpoint: &str, status: &str) -> Result<usize> {
        let mut count = 0;
        let mut cursor = String::new();
        loop {
            let path =
                format!("/v1/deliveries?endpoint={endpoint}&status={status}&limit=200{cursor}");
            let page = self.get(&path).await?.expect(200)?;
            count += page["items"].as_array().context("a list")?.len();
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(count),
            }
        }
    }
}
