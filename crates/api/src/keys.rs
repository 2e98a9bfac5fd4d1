use axum::extract::State;
use http::StatusCode;
use model::{ApiKey, FieldError, KeyId, Role, TenantId, Timestamp};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Id, Json, Listed, Page, PageParams, Principal, Problems, new_key};

use crate::app::{App, check_room};
use crate::endpoints::{NAME_MAX, check_text};
use crate::schema;

/// Keys of a tenant, and operator keys, at most.
const KEYS_MAX: usize = 1_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(delete))
}

/// An API key as it is shown: never the key itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    #[schema(value_type = String, example = "key_01JRX5K9Q8ZV3T7Y2M4N6P8R0S")]
    id: KeyId,
    /// `null` for an operator key.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantId>,
    #[schema(value_type = schema::Role)]
    role: Role,
    name: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// An API key and, this once, what to send.
#[derive(Serialize, ToSchema)]
struct NewKeyView {
    #[serde(flatten)]
    shown: KeyView,
    /// For `Authorization: Bearer …`; shown this once.
    #[schema(example = "fk_…")]
    key: String,
}

impl From<&ApiKey> for KeyView {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id,
            tenant: key.tenant.clone(),
            role: key.role,
            name: key.name.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
        }
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct KeyInput {
    #[schema(value_type = schema::Role)]
    role: Option<Role>,
    name: Option<String>,
    /// Never if absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl KeyInput {
    fn check(&self, now: Timestamp) -> Result<Role, ApiError> {
        let mut errors = Vec::new();
        if self.role.is_none() {
            errors.push(FieldError::new("/role", "is required"));
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            errors.push(FieldError::new("/expires_at", "must be in the future"));
        }
        errors.extend(check_text("/name", self.name.as_deref(), NAME_MAX));
        self.role
            .filter(|_| errors.is_empty())
            .ok_or_else(|| ApiError::invalid(errors))
    }
}

/// Lists a tenant's keys, oldest first; for an operator that names no tenant, the operator keys.
#[utoipa::path(
    get, path = "/v1/keys", tag = "keys", operation_id = "list_keys",
    params(PageParams),
    responses((status = 200, body = Listed<KeyView>), Problems)
)]
async fn list(
    State(app): State<App>,
    caller: Principal,
    page: Page,
) -> Result<Json<Listed<KeyView>>, ApiError> {
    caller.require(Role::Admin)?;
    let after: Option<KeyId> = page.after()?;
    let tenant = caller.tenant_if_named()?;
    let snapshot = app.directory.snapshot();
    let mut keys: Vec<_> = snapshot
        .keys()
        .filter(|key| key.tenant.as_ref() == tenant)
        .filter(|key| after.is_none_or(|after| key.id > after))
        .collect();
    keys.sort_unstable_by_key(|key| key.id);
    let more = keys.len() > page.limit() as usize;
    keys.truncate(page.limit() as usize);
    let next = keys.last().filter(|_| more).map(|key| key.id);
    Ok(Json(Listed::new(
        keys.into_iter()
            .map(|key| KeyView::from(key.as_ref()))
            .collect(),
        next,
    )))
}

/// Makes a key. The answer shows it, this once. An operator key is made by operators alone and
/// belongs to no tenant.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", operation_id = "create_key",
    request_body = KeyInput,
    responses((status = 201, body = NewKeyView), Problems)
)]
async fn create(
    State(app): State<App>,
    caller: Principal,
    Json(input): Json<KeyInput>,
) -> Result<(StatusCode, Json<NewKeyView>), ApiError> {
    caller.require(Role::Admin)?;
    let now = ambient::now();
    let role = input.check(now)?;
    let tenant = if role == Role::Operator {
        caller.require(Role::Operator)?;
        None
    } else {
        Some(caller.tenant()?.clone())
    };
    let snapshot = app.directory.snapshot();
    check_room(
        "keys",
        snapshot.keys().filter(|key| key.tenant == tenant).count(),
        KEYS_MAX,
    )?;
    let (secret, hash) = new_key(ambient::random_secret());
    let key = ApiKey {
        id: KeyId::new(now, ambient::random_id()),
        hash,
        tenant,
        role,
        name: input.name,
        created_at: now,
        expires_at: input.expires_at,
    };
    let shown = KeyView::from(&key);
    app.directory.put_key(key).await?;
    let key = secret.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(NewKeyView { shown, key })))
}

/// Deletes a key: it is refused from then on.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys", operation_id = "delete_key",
    params(("id" = String, Path, description = "A key's id, not the key")),
    responses((status = 204), Problems)
)]
async fn delete(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<KeyId>,
) -> Result<StatusCode, ApiError> {
    caller.require(Role::Admin)?;
    let snapshot = app.directory.snapshot();
    let key = snapshot.keys().find(|key| key.id == id);
    let tenant = caller.tenant_if_named()?;
    let may = key.is_some_and(|key| key.tenant.as_ref() == tenant);
    if may && app.directory.delete_key(id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("key"))
    }
}
