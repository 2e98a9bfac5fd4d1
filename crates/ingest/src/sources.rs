//! `POST /in/{source}`: webhooks of other systems. The signature is the authentication; what
//! verifies goes the way of all events, and what then turns out to be none is set aside.

mod request;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dialect::Dialect;
use http::header::ALLOW;
use http::{HeaderMap, StatusCode, Uri};
use model::{Source, SourceId};
use serde::Serialize;
use utoipa::ToSchema;
use web::{ApiError, Id, Json, Problems};

pub(crate) use self::request::text;
use self::request::{Refused, Request, Taken};
use crate::http::IngestState;

pub(crate) fn routes() -> Router<IngestState> {
    Router::new().route("/in/{source}", post(take_in).options(agree))
}

/// What became of the events in a request.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TakenIn {
    /// Events that are durable now.
    accepted: usize,
    /// Events that were accepted before; they are delivered to nobody a second time.
    duplicates: usize,
    /// Why the request was set aside, if it was: `GET /v1/rejected` lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_aside: Option<String>,
}

/// Take in a webhook of another system
///
/// In the source's dialect, signed with its secret or the other half of its public key; no API key.
/// A request that verifies but cannot be mapped is set aside and answered 202. At most 1,280 KiB.
#[utoipa::path(
    post, path = "/in/{source}", tag = "sources", operation_id = "take_in", security(()),
    params(("source" = String, Path, description = "A source's id")),
    request_body = serde_json::Value,
    responses((status = 200, body = TakenIn), (status = 202, body = TakenIn), Problems)
)]
pub(crate) async fn take_in(
    State(state): State<IngestState>,
    Id(id): Id<SourceId>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (source, dialect) = find(&state, id)?;
    let request = Request {
        state: &state,
        source: &source,
        dialect,
        uri: &uri,
        headers: &headers,
        now: ambient::now(),
    };
    let (result, answer) = match request.take_in(body).await {
        Ok(taken) => taken.answer(),
        Err(Refused::Unread(error)) => (SourceResult::Unread, Err(error)),
        Err(Refused::Unauthorized(error)) => {
            let error = ApiError::unauthorized(error.to_string());
            (SourceResult::Unauthorized, Err(error))
        }
        Err(Refused::Unavailable(error)) => (SourceResult::Unavailable, Err(error)),
    };
    let requests = &state.acceptor.parts.metrics.source_requests;
    requests
        .with_label_values(&[dialect.name(), result.as_str()])
        .inc();
    answer.map(IntoResponse::into_response)
}

/// Answers senders that ask before they send, where the dialect's do.
async fn agree(
    State(state): State<IngestState>,
    Id(id): Id<SourceId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (_, dialect) = find(&state, id)?;
    let allow = [(ALLOW, "POST")];
    Ok(match dialect.agree(&|name| text(&headers, name)) {
        Some(agreed) => (StatusCode::OK, allow, agreed).into_response(),
        None => {
            let error = ApiError::method_not_allowed("a source takes POST");
            (allow, error).into_response()
        }
    })
}

/// No store is asked: whoever knows no key costs next to nothing.
fn find(state: &IngestState, id: SourceId) -> Result<(Arc<Source>, Dialect), ApiError> {
    let snapshot = state.directory.snapshot();
    let source = snapshot.source(id).filter(|source| source.active);
    let source = source.ok_or_else(|| ApiError::not_found("object"))?;
    let dialect = Dialect::from_name(&source.dialect).ok_or_else(|| {
        let reason = "this version does not know the source's dialect";
        ApiError::unavailable(reason, web::ASK_AGAIN_AFTER)
    })?;
    Ok((Arc::clone(source), dialect))
}

/// How a request ended, as its counter says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceResult {
    Accepted,
    Duplicate,
    /// Nothing but tests of the sender's.
    Test,
    Conflict,
    Unmapped,
    Unauthorized,
    Unread,
    Unavailable,
}

impl SourceResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Test => "test",
            Self::Conflict => "conflict",
            Self::Unmapped => "unmapped",
            Self::Unauthorized => "unauthorized",
            Self::Unread => "unread",
            Self::Unavailable => "unavailable",
        }
    }
}

type Answered = Result<(StatusCode, Json<TakenIn>), ApiError>;

impl Taken {
    fn answer(self) -> (SourceResult, Answered) {
        let (outcome, status) = match (&self.unmapped, &self.conflict) {
            (Some(_), _) => (SourceResult::Unmapped, StatusCode::ACCEPTED),
            (None, Some(_)) => (SourceResult::Conflict, StatusCode::OK),
            (None, None) if self.accepted > 0 => (SourceResult::Accepted, StatusCode::OK),
            (None, None) if self.duplicates > 0 => (SourceResult::Duplicate, StatusCode::OK),
            (None, None) => (SourceResult::Test, StatusCode::OK),
        };
        let taken_in = TakenIn {
            accepted: self.accepted,
            duplicates: self.duplicates,
            set_aside: self.unmapped.or(self.conflict),
        };
        (outcome, Ok((status, Json(taken_in))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_told_before_what_went_well() {
        let no = || Some("no".to_owned());
        let check = |taken: Taken, outcome: SourceResult, status: u16| {
            let (found, answer) = taken.answer();
            let (code, _) = answer.unwrap();
            assert_eq!((found, code.as_u16()), (outcome, status));
        };
        let both = |unmapped, conflict| Taken {
            accepted: 1,
            duplicates: 1,
            unmapped,
            conflict,
        };
        check(both(no(), no()), SourceResult::Unmapped, 202);
        check(both(None, no()), SourceResult::Conflict, 200);
        check(both(None, None), SourceResult::Accepted, 200);
        let repeated = Taken {
            duplicates: 2,
            ..Taken::default()
        };
        check(repeated, SourceResult::Duplicate, 200);
        check(Taken::default(), SourceResult::Test, 200);
    }
}
