use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::ApiState;
use broker::Broker;
use model::{
    ApiKey, DeliveryId, EndpointId, Event, EventId, HoldReason, KeyId, LicenseId, Plan, Role,
    Tenant, TenantId, Timestamp,
};
use secrecy::ExposeSecret;
use sender::{Sender, SenderConfig};
use serde_json::{Value, json};
use shared_state::SharedState;
use store::{Acceptance, Accepted, Directory, MasterKey, NewDelivery, Store};
use testkit::{Client, OPERATOR_KEY};

/// How long anything may take in these tests.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) const ACME: &str = "acme";
pub(crate) const UMBRELLA: &str = "umbrella";

/// A running API over fresh data, with two tenants.
pub(crate) struct Api {
    /// With the operator key, on behalf of nobody.
    pub(crate) operator: Client,
    /// With the operator key, on behalf of [`ACME`].
    pub(crate) acme: Client,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) shared_state: Arc<dyn SharedState>,
    pub(crate) directory: Arc<Directory>,
    _folder: tempfile::TempDir,
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::start_with(SenderConfig {
            allow_private_targets: true,
            extra_roots_pem: None,
        })
        .await
    }

    pub(crate) async fn start_with(sender: SenderConfig) -> Self {
        let folder = testkit::scratch_folder().unwrap();
        let url = format!("sqlite://{}/fanfare.db", folder.path().display());
        let store = store::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        let url = format!("embedded://{}", folder.path().display());
        let broker = broker::open(&url, broker::Options::default())
            .await
            .unwrap();
        let key = MasterKey::from_bytes([7; 32]);
        let directory = Directory::load(Arc::clone(&store), key).await.unwrap();
        let shared_state = shared_state::open(None).await.unwrap();
        for tenant in [ACME, UMBRELLA] {
            directory
                .put_tenant(new_tenant(tenant), true)
                .await
                .unwrap();
        }
        put_key(&directory, None, Role::Operator, OPERATOR_KEY, None).await;
        let router = api::router(ApiState {
            directory: Arc::clone(&directory),
            store: Arc::clone(&store),
            broker: Arc::clone(&broker),
            shared_state: Arc::clone(&shared_state),
            sender: Arc::new(Sender::new(&sender).unwrap()),
            public_url: Some("https://fanfare.example".to_owned()),
            egress_addresses: vec!["198.51.100.7".to_owned()],
            also_documented: elsewhere(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = axum::serve(listener, web::rim(router));
        tokio::spawn(async move { server.await.unwrap() });
        let operator = Client::operator(&base).unwrap();
        Self {
            acme: operator.for_tenant(ACME),
            operator,
            store,
            broker,
            shared_state,
            directory,
            _folder: folder,
        }
    }

    /// A client with a new key of a tenant.
    pub(crate) async fn with_role(&self, tenant: &str, role: Role) -> Client {
        let (key, _) = web::new_key(ambient::random_secret());
        let key = key.expose_secret();
        put_key(&self.directory, Some(tenant), role, key, None).await;
        self.operator.with_key(Some(key))
    }

    pub(crate) async fn with_expired_key(&self, tenant: &str) -> Client {
        let (key, _) = web::new_key(ambient::random_secret());
        let key = key.expose_secret();
        let end = ambient::now().minus(Duration::from_secs(1));
        put_key(&self.directory, Some(tenant), Role::Admin, key, Some(end)).await;
        self.operator.with_key(Some(key))
    }

    /// Accepts an event with a delivery to each endpoint, as the other crates would.
    pub(crate) async fn accept(&self, what: Submitted<'_>) -> Vec<DeliveryId> {
        let now = ambient::now();
        let deliveries: Vec<_> = what
            .endpoints
            .iter()
            .map(|endpoint| NewDelivery {
                id: DeliveryId::new(now, ambient::random_id()),
                endpoint: *endpoint,
                held: what.held,
            })
            .collect();
        let ids = deliveries.iter().map(|delivery| delivery.id).collect();
        let acceptance = Acceptance {
            event: Arc::new(what.event(now)),
            digest: [0; 16],
            deliveries,
            trace: None,
        };
        let accepted = self.store.accept(&[acceptance]).await.unwrap();
        assert!(
            matches!(accepted[..], [Accepted::New { .. }]),
            "{accepted:?}"
        );
        ids
    }

    /// Makes an endpoint at `url` that wants everything; answers its id.
    pub(crate) async fn endpoint(&self, url: &str) -> EndpointId {
        let endpoint = self.acme.create_endpoint(url, json!({})).await.unwrap();
        id(&endpoint)
    }
}

/// An event, and where it goes.
#[derive(Clone, Copy)]
pub(crate) struct Submitted<'a> {
    pub(crate) id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) license: &'a str,
    pub(crate) endpoints: &'a [EndpointId],
    pub(crate) held: Option<HoldReason>,
}

impl Default for Submitted<'_> {
    fn default() -> Self {
        let event_type = "license.created";
        Self {
            id: "evt_1",
            event_type,
            license: "lic_1",
            endpoints: &[],
            held: None,
        }
    }
}

impl Submitted<'_> {
    fn event(&self, now: Timestamp) -> Event {
        let data = format!(r#"{{"license":{{"id":"{}"}},"n":1.0}}"#, self.license);
        let data = serde_json::value::RawValue::from_string(data).unwrap();
        Event {
            tenant: TenantId::new(ACME).unwrap(),
            id: EventId::new(self.id).unwrap(),
            event_type: self.event_type.parse().unwrap(),
            occurred_at: now,
            accepted_at: now,
            environment: model::Environment::Production,
            product: None,
            license: Some(LicenseId::new(self.license).unwrap()),
            sequence: None,
            data: Arc::from(data),
        }
    }
}

fn new_tenant(id: &str) -> Tenant {
    Tenant {
        id: TenantId::new(id).unwrap(),
        name: id.to_owned(),
        plan: Plan::Enterprise,
        created_at: ambient::now(),
    }
}

async fn put_key(
    directory: &Directory,
    tenant: Option<&str>,
    role: Role,
    key: &str,
    expires_at: Option<Timestamp>,
) {
    let now = ambient::now();
    let key = ApiKey {
        id: KeyId::new(now, ambient::random_id()),
        hash: web::hash_key(key),
        tenant: tenant.map(|tenant| TenantId::new(tenant).unwrap()),
        role,
        name: None,
        created_at: now,
        expires_at,
    };
    directory.put_key(key).await.unwrap();
}

/// Stands for the routes of other crates.
fn elsewhere() -> utoipa::openapi::OpenApi {
    serde_json::from_value(json!({
        "openapi": "3.1.0",
        "info": {"title": "elsewhere", "version": "0"},
        "paths": {"/elsewhere": {"get": {"responses": {}}}}
    }))
    .unwrap()
}

/// Calls, expects the status, answers the body.
pub(crate) async fn get(client: &Client, path: &str, status: u16) -> Value {
    client.get(path).await.unwrap().expect(status).unwrap()
}

pub(crate) async fn post(client: &Client, path: &str, body: &Value, status: u16) -> Value {
    client
        .post(path, body)
        .await
        .unwrap()
        .expect(status)
        .unwrap()
}

pub(crate) async fn patch(client: &Client, path: &str, body: &Value, status: u16) -> Value {
    client
        .patch(path, body)
        .await
        .unwrap()
        .expect(status)
        .unwrap()
}

pub(crate) async fn delete(client: &Client, path: &str, status: u16) {
    client.delete(path).await.unwrap().expect(status).unwrap();
}

pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    value["id"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn items(list: &Value) -> &[Value] {
    list["items"].as_array().unwrap()
}

/// Reads a list page by page; answers the value of `member` of each item, in order.
pub(crate) async fn read_all(client: &Client, path: &str, limit: u32, member: &str) -> Vec<String> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut next = format!("{path}{separator}limit={limit}");
    let mut read = Vec::new();
    loop {
        let page = client.get(&next).await.unwrap().expect(200).unwrap();
        assert!(items(&page).len() <= limit as usize);
        read.extend(
            items(&page)
                .iter()
                .map(|item| item[member].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}{separator}limit={limit}&cursor={cursor}"),
            None => return read,
        }
    }
}

/// The members that a 422 names, with what it says.
pub(crate) fn mistakes(problem: &Value) -> BTreeMap<String, String> {
    let errors = problem["errors"]
        .as_array()
        .unwrap_or_else(|| panic!("{problem}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    errors
        .iter()
        .map(|error| (text(&error["pointer"]), text(&error["detail"])))
        .collect()
}
