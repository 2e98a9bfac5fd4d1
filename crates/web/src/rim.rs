use std::any::Any;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{Method, Uri};
use tower_http::catch_panic::CatchPanicLayer;

use crate::ApiError;

/// Finishes a router: an unknown path, a wrong method and a panic are answered with problem
/// documents too. Call it once, on the whole.
pub fn rim(router: Router) -> Router {
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
}

async fn unknown_path(uri: Uri) -> ApiError {
    ApiError::not_found(&format!("path: {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(format!("{} does not take {method}; see Allow", uri.path()))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = message, "a handler panicked");
    ApiError::internal_logged().into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::Request;
    use http::header::{ALLOW, CONTENT_TYPE};
    use tower::ServiceExt;

    use super::*;

    async fn answer(method: Method, path: &str) -> Response {
        let broken = || async { panic!("a secret detail") as &'static str };
        let router = rim(Router::new()
            .route("/there", get("ok"))
            .route("/broken", get(broken)));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        router.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn what_no_handler_answers_is_a_problem_document_too() {
        for (method, path, status) in [
            (Method::GET, "/nowhere", 404),
            (Method::POST, "/there", 405),
            (Method::GET, "/broken", 500),
        ] {
            let response = answer(method, path).await;
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(
                response.headers()[CONTENT_TYPE],
                "application/problem+json",
                "{path}"
            );
        }
        let allowed = answer(Method::POST, "/there").await;
        assert_eq!(allowed.headers()[ALLOW], "GET,HEAD");
    }
}
