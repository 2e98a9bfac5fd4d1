use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use model::FieldError;
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Documented, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::ApiError;
use crate::error::Parts;

const MEDIA_TYPE: &str = "application/problem+json";

/// RFC 9457: what went wrong, for programs (`type`, `status`, `errors`) and people (`detail`).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:fanfare:problem:…`; stable.
    #[serde(rename = "type")]
    problem_type: String,
    #[schema(value_type = String)]
    title: &'static str,
    status: u16,
    detail: String,
    /// Each member that is wrong: a JSON pointer, and what is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ProblemMember>, inline)]
    errors: Vec<FieldError>,
}

/// How [`FieldError`] looks on the wire.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "documents a type of a crate that knows no OpenAPI"
)]
pub(crate) struct ProblemMember {
    pointer: String,
    detail: String,
}

/// For the OpenAPI document: every answer that is not a success is a [`Problem`], which the document
/// lists among its schemas.
#[derive(Debug)]
pub struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        let problem = Ref::from_schema_name(Problem::name());
        let response = ResponseBuilder::new()
            .description("A problem document (RFC 9457)")
            .content(
                MEDIA_TYPE,
                ContentBuilder::new().schema(Some(problem)).build(),
            )
            .build();
        [("default".to_owned(), RefOr::T(response))].into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Parts {
            kind,
            detail,
            errors,
            retry_after,
            closes,
        } = self.into_parts();
        let (status, slug, title) = kind.row();
        let problem = Problem {
            problem_type: format!("urn:fanfare:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail,
            errors,
        };
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(after) = retry_after {
            // Whole seconds, rounded up: zero would ask for an immediate repetition.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use store::StoreError;

    use super::*;

    async fn document(error: ApiError) -> (Response<()>, serde_json::Value) {
        let (parts, body) = error.into_response().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (
            Response::from_parts(parts, ()),
            serde_json::from_slice(&bytes).unwrap(),
        )
    }

    #[tokio::test]
    async fn every_mistake_is_named_in_a_problem_document() {
        let errors = vec![
            FieldError::new("/url", "wrong"),
            FieldError::new("/name", "long"),
        ];
        let (response, body) = document(ApiError::invalid(errors)).await;
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(body["type"], "urn:fanfare:problem:invalid");
        assert_eq!(body["status"], 422);
        assert_eq!(body["errors"][1]["pointer"], "/name");
    }

    #[tokio::test]
    async fn retry_after_is_whole_seconds_and_never_zero() {
        let after = |duration| ApiError::unavailable("away", duration);
        for (duration, seconds) in [(0, "1"), (900, "1"), (1_000, "1"), (1_001, "2")] {
            let (response, _) = document(after(Duration::from_millis(duration))).await;
            assert_eq!(response.headers()[RETRY_AFTER], seconds, "{duration} ms");
        }
    }

    #[tokio::test]
    async fn a_stores_failure_keeps_the_drivers_words_to_itself() {
        let error = StoreError::Unavailable {
            reason: "the disk is full",
            source: "SQLITE_FULL at /var/lib/x".into(),
        };
        let (response, body) = document(error.into()).await;
        assert_eq!(response.status(), 503);
        assert_eq!(body["detail"], "the disk is full");
        assert!(response.headers().contains_key(RETRY_AFTER));

        let (response, body) = document(StoreError::Corrupt("row 17".to_owned()).into()).await;
        assert_eq!(response.status(), 500);
        assert!(!body.to_string().contains("17"));
    }
}
