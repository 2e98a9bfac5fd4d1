//! The rim that every HTTP handler shares: problem documents, authentication, bounded JSON bodies,
//! query strings, paging. Knows HTTP and the directory of keys, nothing of the resources.
//!
//! A handler takes a [`Principal`], extractors of this crate instead of axum's own, and answers
//! `Result<_, ApiError>`:
//!
//! ```
//! use std::sync::Arc;
//!
//! use axum::{Router, extract::FromRef, routing::get};
//! use model::Role;
//! use store::Directory;
//! use web::{ApiError, Json, Page, Principal};
//!
//! #[derive(Clone)]
//! struct App {
//!     directory: Arc<Directory>,
//! }
//!
//! impl FromRef<App> for Arc<Directory> {
//!     fn from_ref(app: &App) -> Self {
//!         Self::clone(&app.directory)
//!     }
//! }
//!
//! async fn names(caller: Principal, page: Page) -> Result<Json<Vec<String>>, ApiError> {
//!     caller.require(Role::Viewer)?;
//!     Ok(Json(vec![format!("{} at most {}", caller.tenant()?, page.limit())]))
//! }
//!
//! fn router(app: App) -> Router {
//!     web::rim(Router::new().route("/v1/names", get(names)).with_state(app))
//! }
//! ```

mod body;
mod error;
mod extract;
mod keys;
mod page;
mod principal;
mod problem;
mod rim;

pub use body::read_body;
pub use error::{ASK_AGAIN_AFTER, ApiError};
pub use extract::{BODY_BYTES_MAX, Id, Json, JsonOrDefault, Query, read_json};
pub use keys::{KEY_PREFIX, hash_key, new_key};
pub use page::{LIMIT_DEFAULT, LIMIT_MAX, Listed, Page, PageParams};
pub use principal::{Principal, TENANT_HEADER};
pub use problem::{Problem, Problems};
pub use rim::rim;
