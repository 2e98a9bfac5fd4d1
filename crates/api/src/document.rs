use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::Problem;

use crate::app::{ApiState, App};
use crate::{
    catalog, deliveries, endpoints, events, keys, set_aside, signing_keys, sources, tenants,
};

const DOCS_PAGE: &str = include_str!("docs.html");

/// The page holds its own script and style and asks only this server.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fanfare",
        description = "License events, signed, to every endpoint that asked for them. \
                       Times are RFC 3339 in UTC. Lists page by an opaque cursor. Every answer \
                       that is not a success is a problem document (RFC 9457). An operator key \
                       names the tenant in the header `Fanfare-Tenant`."
    ),
    tags(
        (name = "events", description = "What happened to licenses"),
        (name = "endpoints", description = "Where deliveries go"),
        (name = "sources", description = "Where webhooks of other systems come in"),
        (name = "deliveries", description = "One event to one endpoint, to its end"),
        (name = "catalogue", description = "Event types, wire formats, addresses"),
        (name = "tenants", description = "Whose endpoints; for operators"),
        (name = "keys", description = "Who may do what"),
        (name = "meta", description = "This document")
    ),
    components(schemas(Problem)),
    security(("key" = [])),
    modifiers(&Keys)
)]
struct Base;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("fk_…");
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("key", SecurityScheme::Http(scheme.build()));
    }
}

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Base::openapi())
        .merge(events::routes())
        .merge(set_aside::routes())
        .merge(endpoints::routes())
        .merge(sources::routes())
        .merge(deliveries::routes())
        .merge(catalog::routes())
        .merge(signing_keys::routes())
        .merge(tenants::routes())
        .merge(keys::routes())
        .routes(routes!(openapi_json))
        .routes(routes!(docs))
}

/// The OpenAPI document of this crate's routes.
pub fn openapi() -> Document {
    let mut document = routes().into_openapi();
    describe_responses(&mut document);
    document
}

/// OpenAPI wants every response described: where a route has nothing to say, its status says it.
fn describe_responses(document: &mut Document) {
    let items = document.paths.paths.values_mut();
    let operations = items.flat_map(|item| {
        [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ]
    });
    for operation in operations.flatten() {
        for (status, response) in &mut operation.responses.responses {
            let RefOr::T(response) = response else {
                continue;
            };
            if response.description.is_empty() {
                let status = StatusCode::from_bytes(status.as_bytes()).ok();
                let reason = status.and_then(|status| status.canonical_reason());
                response.description = reason.unwrap_or("Done").to_owned();
            }
        }
    }
}

/// The routes of the management API, `GET /openapi.json` and `GET /docs`.
pub fn router(state: ApiState) -> Router {
    let (router, mut document) = routes().split_for_parts();
    document.merge(state.also_documented.clone());
    describe_responses(&mut document);
    let json = document.to_json().expect("the document is plain data");
    router.with_state(App::new(state, json.into()))
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "meta", operation_id = "openapi", security(()),
    responses((status = 200, body = Object))
)]
async fn openapi_json(State(app): State<App>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        app.document.clone(),
    )
}

/// This document, for people.
#[utoipa::path(
    get, path = "/docs", tag = "meta", operation_id = "docs", security(()),
    responses((status = 200, body = String, content_type = "text/html"))
)]
async fn docs() -> impl IntoResponse {
    ([(CONTENT_SECURITY_POLICY, DOCS_POLICY)], Html(DOCS_PAGE))
}
