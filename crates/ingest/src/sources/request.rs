use std::collections::BTreeMap;

use axum::body::Body;
use broker::{Destination, Headers, Publication};
use bytes::Bytes;
use dialect::{Dialect, Received, Verified, VerifyError};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use model::{EVENT_BYTES_MAX, Source, Submission, Timestamp, is_test};
use web::{ApiError, read_body};

use crate::acceptor::{AcceptError, Answer};
use crate::batch::BATCH_EVENTS_MAX;
use crate::http::IngestState;

/// Bytes of one request's body at most: the largest batch that Fanfare itself sends fits.
const BODY_BYTES_MAX: usize = 5 * EVENT_BYTES_MAX;
/// Bytes of those headers that the dialect reads at most: they are kept with what is set aside.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a sender's own id or event name that is kept with what is set aside; AMQP takes no
/// longer id.
const LABEL_BYTES_MAX: usize = 255;

/// How events that came in through sources are counted.
const WEBHOOK: &str = "webhook";

/// A request to a source.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) state: &'a IngestState,
    pub(super) source: &'a Source,
    pub(super) dialect: Dialect,
    pub(super) target: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) now: Timestamp,
}

/// Why a request is refused whole.
#[derive(Debug)]
pub(super) enum Refused {
    Unread(ApiError),
    Unauthorized(VerifyError),
    /// Nothing durable can be reached: the sender has to try again.
    Unavailable(ApiError),
}

/// What the events of a request came to.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) accepted: usize,
    pub(super) duplicates: usize,
    /// The first reason why something in it is no event.
    pub(super) unmapped: Option<String>,
    /// The first reason why something in it is another event than the one with its id.
    pub(super) conflict: Option<String>,
}

/// The events of a request that verifies, or why it has none.
type Events = Result<Vec<Submission>, String>;

impl Request<'_> {
    pub(super) async fn take_in(&self, body: Body) -> Result<Taken, Refused> {
        let kept = self.kept_headers().map_err(Refused::Unread)?;
        let body = read_body(body, BODY_BYTES_MAX)
            .await
            .map_err(Refused::Unread)?;
        let (identified, submissions) = self.read(&body).map_err(Refused::Unauthorized)?;
        let taken = match submissions {
            Ok(submissions) => self
                .accept(submissions)
                .await
                .map_err(Refused::Unavailable)?,
            Err(reason) => Taken {
                unmapped: Some(reason),
                ..Taken::default()
            },
        };
        if let Some(reason) = taken.unmapped.as_ref().or(taken.conflict.as_ref()) {
            let headers = self.headers_of(identified, kept);
            self.set_aside(reason.clone(), headers, body)
                .await
                .map_err(Refused::Unavailable)?;
        }
        Ok(taken)
    }

    /// What the request delivers and the events in it, or why there are none.
    fn read(&self, body: &[u8]) -> Result<(Option<Verified>, Events), VerifyError> {
        let find = |name: &str| text(self.headers, name);
        let received = Received {
            target: self.target,
            headers: &find,
            body,
            now: self.now,
        };
        self.authenticate(&received)?;
        Ok(match self.dialect.identify(&received) {
            Ok(verified) => (Some(verified), self.parse(&received)),
            Err(error) => (None, Err(error.to_string())),
        })
    }

    /// Each key is tried, whichever the sender uses already, or still.
    fn authenticate(&self, received: &Received<'_>) -> Result<(), VerifyError> {
        let mut result = Err(VerifyError::SignatureMismatch);
        for key in self.source.valid_keys(self.now) {
            result = self.dialect.authenticate(&key.value, received);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn parse(&self, received: &Received<'_>) -> Events {
        let submissions = self.dialect.parse(received);
        let submissions = submissions.map_err(|error| error.to_string())?;
        if submissions.len() > BATCH_EVENTS_MAX {
            return Err(format!(
                "more than {BATCH_EVENTS_MAX} events in one request"
            ));
        }
        let events = submissions
            .into_iter()
            .filter(|submission| !is_test(&submission.event_type))
            .map(|submission| self.source.complete(submission));
        Ok(events.collect())
    }

    async fn accept(&self, submissions: Vec<Submission>) -> Result<Taken, ApiError> {
        let acceptor = &self.state.acceptor;
        if acceptor.is_overloaded() {
            return Err(AcceptError::Overloaded.into());
        }
        let submissions = submissions.into_iter().map(Ok).collect();
        let answers = acceptor
            .accept_all(&self.source.tenant, submissions, WEBHOOK)
            .await;
        let mut taken = Taken::default();
        for answer in answers {
            match answer {
                Ok(Answer {
                    duplicate: true, ..
                }) => taken.duplicates += 1,
                Ok(_) => taken.accepted += 1,
                Err(error @ (AcceptError::Submission(_) | AcceptError::Unstorable(_))) => {
                    taken.unmapped.get_or_insert(error.to_string());
                }
                Err(error @ AcceptError::Conflict(_)) => {
                    taken.conflict.get_or_insert(error.to_string());
                }
                // A repetition is as good as the first time.
                Err(error @ (AcceptError::Overloaded | AcceptError::Unavailable { .. })) => {
                    return Err(error.into());
                }
            }
        }
        Ok(taken)
    }

    /// What it takes to read the request again.
    fn kept_headers(&self) -> Result<String, ApiError> {
        let names = self.dialect.header_names();
        let kept: BTreeMap<_, _> = names
            .filter_map(|name| Some((name, text(self.headers, name)?)))
            .collect();
        let json = serde_json::to_string(&kept).expect("it has only string keys");
        if json.len() > HEADER_BYTES_MAX {
            let detail = format!(
                "the headers are larger than {} KiB",
                HEADER_BYTES_MAX / 1024
            );
            return Err(ApiError::too_large(detail));
        }
        Ok(json)
    }

    fn headers_of(&self, identified: Option<Verified>, kept: String) -> Headers {
        let label = |label: String| Some(label).filter(|label| label.len() <= LABEL_BYTES_MAX);
        let (id, name) = match identified {
            Some(verified) => (label(verified.id), label(verified.event_type)),
            None => (None, None),
        };
        Headers {
            tenant: Some(self.source.tenant.as_str().to_owned()),
            message_id: id,
            content_type: text(self.headers, CONTENT_TYPE.as_str()).map(str::to_owned),
            routing_key: name.unwrap_or_default(),
            source: Some(self.source.id.to_string()),
            source_headers: Some(kept),
            ..Headers::default()
        }
    }

    async fn set_aside(
        &self,
        reason: String,
        headers: Headers,
        body: Bytes,
    ) -> Result<(), ApiError> {
        let to = Destination::Rejected {
            reason,
            at: self.now,
            headers: headers.into(),
        };
        let published = &self.state.acceptor.parts.broker;
        let published = published.publish(vec![Publication { to, body }]).await;
        published.map_err(|_| {
            self.state
                .acceptor
                .parts
                .metrics
                .dependency_failed("broker");
            let reason = "the request cannot be set aside: the broker is unavailable";
            ApiError::unavailable(reason, web::ASK_AGAIN_AFTER)
        })
    }
}

/// A header's value, where it is text.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
