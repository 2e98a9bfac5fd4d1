use axum::extract::State;
use http::StatusCode;
use model::{FieldError, Plan, Role, Tenant, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{DirectoryError, StoreError};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Id, Json, Listed, Page, PageParams, Principal, Problems};

use crate::app::{App, check_room};
use crate::endpoints::{NAME_MAX, check_text};
use crate::schema;

/// Tenants of an installation at most.
const TENANTS_MAX: usize = 100_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantView {
    #[schema(value_type = String, example = "acme")]
    id: TenantId,
    name: String,
    #[schema(value_type = schema::Plan)]
    plan: Plan,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<&Tenant> for TenantView {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.clone(),
            name: tenant.name.clone(),
            plan: tenant.plan,
            created_at: tenant.created_at,
        }
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct TenantInput {
    /// 1 to 64 characters of `a-z A-Z 0-9 _ -`; never changes.
    #[schema(value_type = String)]
    id: Option<TenantId>,
    /// The id if absent.
    name: Option<String>,
    #[schema(value_type = Option<schema::Plan>)]
    plan: Option<Plan>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct TenantPatch {
    name: Option<String>,
    #[schema(value_type = Option<schema::Plan>)]
    plan: Option<Plan>,
}

/// Lists tenants by id. For operators.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "tenants", operation_id = "list_tenants",
    params(PageParams),
    responses((status = 200, body = Listed<TenantView>), Problems)
)]
async fn list(
    State(app): State<App>,
    caller: Principal,
    page: Page,
) -> Result<Json<Listed<TenantView>>, ApiError> {
    caller.require(Role::Operator)?;
    let after: Option<TenantId> = page.after()?;
    let snapshot = app.directory.snapshot();
    let mut tenants: Vec<_> = snapshot
        .tenants()
        .map(|view| &view.tenant)
        .filter(|tenant| after.as_ref().is_none_or(|after| tenant.id > *after))
        .collect();
    tenants.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let more = tenants.len() > page.limit() as usize;
    tenants.truncate(page.limit() as usize);
    let next = tenants
        .last()
        .filter(|_| more)
        .map(|tenant| tenant.id.clone());
    Ok(Json(Listed::new(
        tenants.into_iter().map(TenantView::from).collect(),
        next,
    )))
}

/// Makes a tenant. For operators.
#[utoipa::path(
    post, path = "/v1/tenants", tag = "tenants", operation_id = "create_tenant",
    request_body = TenantInput,
    responses((status = 201, body = TenantView), Problems)
)]
async fn create(
    State(app): State<App>,
    caller: Principal,
    Json(input): Json<TenantInput>,
) -> Result<(StatusCode, Json<TenantView>), ApiError> {
    caller.require(Role::Operator)?;
    let mut errors = Vec::new();
    if input.id.is_none() {
        errors.push(FieldError::new("/id", "is required"));
    }
    errors.extend(check_text("/name", input.name.as_deref(), NAME_MAX));
    let Some(id) = input.id.filter(|_| errors.is_empty()) else {
        return Err(ApiError::invalid(errors));
    };
    check_room(
        "tenants",
        app.directory.snapshot().tenants().count(),
        TENANTS_MAX,
    )?;
    let tenant = Tenant {
        name: input.name.unwrap_or_else(|| id.to_string()),
        id,
        plan: input.plan.unwrap_or(Plan::Free),
        created_at: ambient::now(),
    };
    let view = TenantView::from(&tenant);
    match app.directory.put_tenant(tenant, true).await {
        Ok(_) => Ok((StatusCode::CREATED, Json(view))),
        Err(DirectoryError::Store(StoreError::Conflict)) => Err(ApiError::conflict(format!(
            "the tenant {} exists already",
            view.id
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Shows a tenant. For operators.
#[utoipa::path(
    get, path = "/v1/tenants/{id}", tag = "tenants", operation_id = "get_tenant",
    params(("id" = String, Path, description = "A tenant's id")),
    responses((status = 200, body = TenantView), Problems)
)]
async fn get(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<TenantId>,
) -> Result<Json<TenantView>, ApiError> {
    caller.require(Role::Operator)?;
    let snapshot = app.directory.snapshot();
    let tenant = snapshot
        .tenant(&id)
        .ok_or_else(|| ApiError::not_found("tenant"))?;
    Ok(Json(TenantView::from(&tenant.tenant)))
}

/// Changes a tenant's name or plan. For operators.
#[utoipa::path(
    patch, path = "/v1/tenants/{id}", tag = "tenants", operation_id = "patch_tenant",
    params(("id" = String, Path, description = "A tenant's id")),
    request_body(content = TenantPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = TenantView), Problems)
)]
async fn patch(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<TenantId>,
    Json(patch): Json<TenantPatch>,
) -> Result<Json<TenantView>, ApiError> {
    caller.require(Role::Operator)?;
    if let Some(error) = check_text("/name", patch.name.as_deref(), NAME_MAX) {
        return Err(ApiError::invalid(vec![error]));
    }
    let snapshot = app.directory.snapshot();
    let view = snapshot
        .tenant(&id)
        .ok_or_else(|| ApiError::not_found("tenant"))?;
    let mut tenant = view.tenant.clone();
    tenant.name = patch.name.unwrap_or(tenant.name);
    tenant.plan = patch.plan.unwrap_or(tenant.plan);
    let view = TenantView::from(&tenant);
    app.directory.put_tenant(tenant, false).await?;
    Ok(Json(view))
}
