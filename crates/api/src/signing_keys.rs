//! Tenants' key pairs: made when an endpoint first needs one, and published for its receivers.

use axum::extract::State;
use dialect::{Dialect, SigningKeys};
use model::{Endpoint, KeyAlgorithm, Role, SigningKey, TenantId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Id, Json, Listed, Principal, Problems};

use crate::app::App;
use crate::schema;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(publish))
}

/// The public half of a key pair that requests to the tenant's endpoints are signed with.
#[derive(Debug, Serialize, ToSchema)]
struct SigningKeyView {
    #[schema(value_type = schema::KeyAlgorithm)]
    algorithm: KeyAlgorithm,
    /// What signatures name the tenant's keys by, unless the endpoint's `account_id` says
    /// otherwise.
    #[schema(example = "5f1c9d1e-6f3b-8a52-9c1d-2b7f0a9e4c11")]
    key_id: String,
    /// 64 hexadecimal digits of an Ed25519 key; of others the base64 of their DER.
    public_key: String,
    /// SubjectPublicKeyInfo.
    public_key_pem: String,
    /// An Ed25519 key as Standard Webhooks writes it.
    #[schema(example = "whpk_…")]
    whpk: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl SigningKeyView {
    fn new(key: &SigningKey) -> Result<Self, ApiError> {
        let published = SigningKeys::publish(key).map_err(|error| ApiError::internal(&error))?;
        Ok(Self {
            algorithm: key.algorithm,
            key_id: SigningKeys::id(&key.tenant),
            public_key: published.public_key,
            public_key_pem: published.pem,
            whpk: published.whpk,
            created_at: key.created_at,
        })
    }
}

/// Lists the public keys that the tenant's receivers verify with, on one page. A key pair is made
/// when the first endpoint needs it, and stays.
#[utoipa::path(
    get, path = "/v1/signing-keys", tag = "catalogue", operation_id = "list_signing_keys",
    responses((status = 200, body = Listed<SigningKeyView>), Problems)
)]
async fn list(
    State(app): State<App>,
    caller: Principal,
) -> Result<Json<Listed<SigningKeyView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let snapshot = app.directory.snapshot();
    let tenant = snapshot.tenant(caller.tenant()?);
    show(tenant.map_or(&[], |view| &view.signing_keys))
}

/// Lists the public keys of the account that a signature names in `keyid`, for receivers that have
/// no key of this API.
#[utoipa::path(
    get, path = "/v1/signing-keys/{account}", tag = "catalogue",
    operation_id = "get_signing_keys", security(()),
    params(("account" = String, Path, description = "A `key_id`; not an endpoint's own `account_id`")),
    responses((status = 200, body = Listed<SigningKeyView>), Problems)
)]
async fn publish(
    State(app): State<App>,
    Id(account): Id<String>,
) -> Result<Json<Listed<SigningKeyView>>, ApiError> {
    let snapshot = app.directory.snapshot();
    let mut with_keys = snapshot.tenants().filter(|it| !it.signing_keys.is_empty());
    let found = with_keys.find(|view| SigningKeys::id(&view.tenant.id) == account);
    let view = found.ok_or_else(|| ApiError::not_found("account"))?;
    show(&view.signing_keys)
}

fn show(keys: &[SigningKey]) -> Result<Json<Listed<SigningKeyView>>, ApiError> {
    let views: Result<Vec<_>, _> = keys.iter().map(SigningKeyView::new).collect();
    let mut items = views?;
    items.sort_by_key(|key| key.algorithm);
    Ok(Json(Listed::new(items, None::<String>)))
}

/// Makes the key pairs that sign for the endpoint and that its tenant has not got yet.
pub(crate) async fn make_missing(app: &App, endpoint: &Endpoint) -> Result<(), ApiError> {
    let needed = Dialect::of(endpoint).map(|dialect| dialect.signed_with(endpoint));
    for algorithm in needed.unwrap_or_default() {
        if !has_key(app, &endpoint.tenant, algorithm) {
            make(app, &endpoint.tenant, algorithm).await?;
        }
    }
    Ok(())
}

fn has_key(app: &App, tenant: &TenantId, algorithm: KeyAlgorithm) -> bool {
    let snapshot = app.directory.snapshot();
    let view = snapshot.tenant(tenant);
    view.is_some_and(|view| view.signing_key(algorithm).is_some())
}

/// One at a time: an RSA key keeps a processor busy for a second.
async fn make(app: &App, tenant: &TenantId, algorithm: KeyAlgorithm) -> Result<(), ApiError> {
    let _turn = app.key_making.lock().await;
    if has_key(app, tenant, algorithm) {
        return Ok(());
    }
    let random = ambient::random_secret();
    let making = tokio::task::spawn_blocking(move || SigningKeys::generate(algorithm, random));
    let key = SigningKey {
        tenant: tenant.clone(),
        algorithm,
        created_at: ambient::now(),
        private_key: making.await.map_err(|error| ApiError::internal(&error))?,
    };
    app.directory.put_signing_key(key).await?;
    Ok(())
}
