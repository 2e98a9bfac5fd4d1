//! Sources: where webhooks of other systems come in. `input` is what clients say, `view` what they
//! are shown.

mod input;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use dialect::Dialect;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use model::{EndpointSecret, KeyKind, Role, Source, SourceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Id, Json, JsonOrDefault, Listed, Page, PageParams, Principal, Problems};

use self::input::{SourceInput, SourceSettings, new_key};
use self::view::{NewSourceView, SourceView};
use crate::app::{App, check_room};
use crate::endpoints::{check_grace, check_secrets, rotate};

/// Sources of a tenant at most.
const SOURCES_MAX: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
        .routes(routes!(rotate_secret))
}

/// The caller's source; another tenant's does not exist for him.
fn find(app: &App, caller: &Principal, id: SourceId) -> Result<Arc<Source>, ApiError> {
    let tenant = caller.tenant()?;
    let snapshot = app.directory.snapshot();
    let source = snapshot
        .source(id)
        .filter(|source| source.tenant == *tenant);
    source.cloned().ok_or_else(|| ApiError::not_found("source"))
}

/// Lists sources, oldest first.
#[utoipa::path(
    get, path = "/v1/sources", tag = "sources", operation_id = "list_sources",
    params(PageParams),
    responses((status = 200, body = Listed<SourceView>), Problems)
)]
async fn list(
    State(app): State<App>,
    caller: Principal,
    page: Page,
) -> Result<Json<Listed<SourceView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let after: Option<SourceId> = page.after()?;
    let limit = page.limit() as usize;
    let snapshot = app.directory.snapshot();
    let sources = snapshot.tenant(caller.tenant()?).map(|view| &view.sources);
    let mut found: Vec<_> = sources
        .into_iter()
        .flatten()
        .filter(|source| after.is_none_or(|after| source.id > after))
        .take(limit + 1)
        .collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|source| source.id);
    let views = found.into_iter().map(|it| SourceView::new(&app, it));
    Ok(Json(Listed::new(views.collect(), next)))
}

/// Makes a source. The answer shows its secret, this once, if it was not given.
#[utoipa::path(
    post, path = "/v1/sources", tag = "sources", operation_id = "create_source",
    request_body = SourceInput,
    responses((status = 201, body = NewSourceView), Problems)
)]
async fn create(
    State(app): State<App>,
    caller: Principal,
    Json(input): Json<SourceInput>,
) -> Result<impl IntoResponse, ApiError> {
    caller.require(Role::Editor)?;
    let tenant = caller.tenant()?;
    let snapshot = app.directory.snapshot();
    let count = snapshot.tenant(tenant).map_or(0, |view| view.sources.len());
    check_room("sources", count, SOURCES_MAX)?;
    let (dialect, key, settings) = input.check()?;
    let id = SourceId::new(ambient::now(), ambient::random_id());
    let mut source = Source::new(id, tenant.clone(), dialect.name(), (key.kind, key.value));
    settings.apply(&mut source);
    let source = app.directory.put_source(source).await?;
    let location = format!("/v1/sources/{}", source.id);
    let location = HeaderValue::try_from(location).expect("an id is visible ASCII");
    let view = NewSourceView {
        source: SourceView::new(&app, &source),
        secret: key.shown,
    };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(view)))
}

/// Shows a source.
#[utoipa::path(
    get, path = "/v1/sources/{id}", tag = "sources", operation_id = "get_source",
    params(("id" = String, Path, description = "A source's id")),
    responses((status = 200, body = SourceView), Problems)
)]
async fn get(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<SourceId>,
) -> Result<Json<SourceView>, ApiError> {
    caller.require(Role::Viewer)?;
    let source = find(&app, &caller, id)?;
    Ok(Json(SourceView::new(&app, &source)))
}

/// Changes a source: a JSON merge patch (RFC 7396). Its dialect stays, its keys are rotated.
#[utoipa::path(
    patch, path = "/v1/sources/{id}", tag = "sources", operation_id = "patch_source",
    params(("id" = String, Path, description = "A source's id")),
    request_body(content = SourceSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, body = SourceView), Problems)
)]
async fn patch(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<SourceId>,
    Json(patch): Json<Value>,
) -> Result<Json<SourceView>, ApiError> {
    caller.require(Role::Editor)?;
    let current = find(&app, &caller, id)?;
    SourceSettings::patched(&current, &patch)?;
    // Once more on what is there by now: somebody else may have changed other members.
    let change = |source: &mut Source| {
        SourceSettings::patched(source, &patch)?.apply(source);
        Ok::<_, ApiError>(())
    };
    let source = app.directory.update_source(id, &change).await?;
    let source = source.ok_or_else(|| ApiError::not_found("source"))?;
    Ok(Json(SourceView::new(&app, &source)))
}

/// Deletes a source: its URL is unknown from then on.
#[utoipa::path(
    delete, path = "/v1/sources/{id}", tag = "sources", operation_id = "delete_source",
    params(("id" = String, Path, description = "A source's id")),
    responses((status = 204), Problems)
)]
async fn delete(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<SourceId>,
) -> Result<StatusCode, ApiError> {
    caller.require(Role::Editor)?;
    find(&app, &caller, id)?;
    if app.directory.delete_source(id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("source"))
    }
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct RotateSourceInput {
    /// Seconds for which the keys before go on verifying; 0 ends them at once.
    #[schema(default = 86_400, maximum = 2_592_000)]
    grace_s: Option<u64>,
    /// What the other system signs with from now on; made if absent.
    secret: Option<String>,
    /// Where a public key verifies: the new one.
    public_key: Option<String>,
}

/// What a source verifies with from now on.
#[derive(Serialize, ToSchema)]
struct RotatedSourceView {
    #[schema(value_type = String)]
    id: SourceId,
    /// Shown this once. Absent if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// The last characters of the secret; `null` where a public key verifies.
    secret_hint: Option<String>,
    /// Until then the key before verifies too.
    #[schema(value_type = String, format = DateTime)]
    previous_verifies_until: Timestamp,
}

/// Gives a source a new secret or public key. The one before verifies on for a while.
#[utoipa::path(
    post, path = "/v1/sources/{id}/rotate_secret", tag = "sources",
    operation_id = "rotate_source_secret",
    params(("id" = String, Path, description = "A source's id")),
    request_body = Option<RotateSourceInput>,
    responses((status = 200, body = RotatedSourceView), Problems)
)]
async fn rotate_secret(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<SourceId>,
    JsonOrDefault(input): JsonOrDefault<RotateSourceInput>,
) -> Result<Json<RotatedSourceView>, ApiError> {
    caller.require(Role::Admin)?;
    let source = find(&app, &caller, id)?;
    let invalid = |error| ApiError::invalid(vec![error]);
    let grace = check_grace(input.grace_s)?;
    let now = ambient::now();
    check_secrets(source.valid_keys(now).count(), grace)?;
    let dialect = Dialect::from_name(&source.dialect)
        .ok_or_else(|| ApiError::conflict("this version does not know the source's dialect"))?;
    let kind = source.key_kind;
    let key = new_key(dialect, Some(kind), input.secret, input.public_key).map_err(invalid)?;
    let new = EndpointSecret {
        value: key.value,
        created_at: now,
        signs_until: None,
    };
    let until = now.plus(grace);
    let change = |source: &mut Source| {
        rotate(&mut source.keys, &new, until);
        Ok::<_, ApiError>(())
    };
    app.directory
        .update_source(id, &change)
        .await?
        .ok_or_else(|| ApiError::not_found("source"))?;
    Ok(Json(RotatedSourceView {
        id,
        secret: key.shown,
        secret_hint: (kind == KeyKind::Secret).then(|| new.hint()),
        previous_verifies_until: until,
    }))
}
