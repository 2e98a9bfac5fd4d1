use std::collections::BTreeMap;

use axum::body::Body;
use broker::{Destination, Headers, Publication};
use bytes::Bytes;
use dialect::{Dialect, Received, Submissions, Taker, Verified, VerifyError};
use http::header::CONTENT_TYPE;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Uri};
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
    pub(super) uri: &'a Uri,
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

/// What a request that verifies holds.
#[derive(Debug, Default)]
struct Events {
    good: Vec<Submission>,
    /// The first reason why something in it is no event.
    unmapped: Option<String>,
}

impl Events {
    fn unmapped(reason: impl ToString) -> Self {
        Self {
            good: Vec::new(),
            unmapped: Some(reason.to_string()),
        }
    }

    /// The good ones, but for tests of the sender's.
    fn of(submissions: Submissions, source: &Source) -> Self {
        let count = submissions.len();
        if count > BATCH_EVENTS_MAX {
            return Self::unmapped(format!(
                "more than {BATCH_EVENTS_MAX} events in one request"
            ));
        }
        let mut events = Self::default();
        for (index, submission) in submissions.into_iter().enumerate() {
            match submission {
                Ok(event) if is_test(&event.event_type) => {}
                Ok(event) => events.good.push(source.complete(event)),
                Err(error) if count == 1 => events.unmapped = Some(error.to_string()),
                Err(error) => {
                    let reason = || format!("event {} of {count}: {error}", index + 1);
                    events.unmapped.get_or_insert_with(reason);
                }
            }
        }
        events
    }
}

impl Request<'_> {
    pub(super) async fn take_in(&self, body: Body) -> Result<Taken, Refused> {
        let kept = self.kept_headers().map_err(Refused::Unread)?;
        let body = read_body(body, BODY_BYTES_MAX)
            .await
            .map_err(Refused::Unread)?;
        let (identified, events) = self.read(&body).map_err(Refused::Unauthorized)?;
        let taken = self.accept(events).await.map_err(Refused::Unavailable)?;
        if let Some(reason) = taken.unmapped.as_ref().or(taken.conflict.as_ref()) {
            let headers = self.headers_of(identified, kept);
            self.set_aside(reason.clone(), headers, body)
                .await
                .map_err(Refused::Unavailable)?;
        }
        Ok(taken)
    }

    /// What the request delivers, and the events in it.
    fn read(&self, body: &[u8]) -> Result<(Option<Verified>, Events), VerifyError> {
        let target = self.uri.path_and_query();
        let target = target.map_or("/", PathAndQuery::as_str);
        let base = self.state.public_url.as_deref();
        let url = base.and_then(|base| format!("{base}{target}").parse().ok());
        let authority = self.uri.authority().map(Authority::as_str);
        // HTTP/2 has the host in the URI.
        let find = |name: &str| match name {
            "host" => text(self.headers, name).or(authority),
            _ => text(self.headers, name),
        };
        let received = Received {
            target,
            url: url.as_ref(),
            headers: &find,
            body,
            now: self.now,
        };
        authenticate(self.dialect, self.source, &received)?;
        Ok(match self.dialect.identify(&received) {
            Ok(verified) => (Some(verified), self.parse(&received)),
            Err(error) => (None, Events::unmapped(error)),
        })
    }

    fn parse(&self, received: &Received<'_>) -> Events {
        let snapshot = self.state.directory.snapshot();
        let taker = Taker {
            knows: &|name| snapshot.knows_event_type(&self.source.tenant, name),
            environment: self.source.environment,
        };
        match self.dialect.parse(received, &taker) {
            Ok(submissions) => Events::of(submissions, self.source),
            Err(error) => Events::unmapped(error),
        }
    }

    async fn accept(&self, events: Events) -> Result<Taken, ApiError> {
        let mut taken = Taken {
            unmapped: events.unmapped,
            ..Taken::default()
        };
        if events.good.is_empty() {
            return Ok(taken);
        }
        let acceptor = &self.state.acceptor;
        if acceptor.is_overloaded() {
            return Err(AcceptError::Overloaded.into());
        }
        let submissions = events.good.into_iter().map(Ok).collect();
        let answers = acceptor
            .accept_all(&self.source.tenant, submissions, WEBHOOK)
            .await;
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

/// Each key is tried, whichever the sender uses already, or still. Of those that fail the one tells
/// most whose signature is right.
fn authenticate(
    dialect: Dialect,
    source: &Source,
    received: &Received<'_>,
) -> Result<(), VerifyError> {
    let mut refused = VerifyError::SignatureMismatch;
    for key in source.valid_keys(received.now) {
        match dialect.authenticate(&key.value, received) {
            Ok(()) => return Ok(()),
            Err(error) if refused == VerifyError::SignatureMismatch => refused = error,
            Err(_) => {}
        }
    }
    Err(refused)
}

/// A header's value, where it is text.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use model::{EndpointSecret, KeyKind, SourceId, TenantId};

    use super::*;

    fn source(dialect: Dialect) -> Source {
        let tenant = TenantId::new("acme").unwrap();
        let id = SourceId::new(Timestamp::from_seconds(100), 7);
        Source::new(id, tenant, dialect.name(), (KeyKind::Secret, "s".into()))
    }

    #[test]
    fn a_bad_event_in_a_batch_spoils_no_other() {
        let submissions = |bodies: &[&str]| {
            let read = |body: &&str| Ok(Submission::parse(body.as_bytes())?);
            Events::of(bodies.iter().map(read).collect(), &source(Dialect::Traffic))
        };
        let good = r#"{"type":"license.created","data":{}}"#;
        let test = r#"{"type":"webhook.test","data":{}}"#;
        let events = submissions(&[good, "{}", test, "[", good]);
        assert_eq!(events.good.len(), 2);
        let reason = events.unmapped.unwrap();
        assert!(reason.starts_with("event 2 of 5: "), "{reason}");
        let reason = submissions(&["{}"]).unmapped.unwrap();
        assert!(reason.starts_with("the event in it is refused"), "{reason}");
        assert!(
            submissions(&vec![good; BATCH_EVENTS_MAX])
                .unmapped
                .is_none()
        );
        let too_many = submissions(&vec![good; BATCH_EVENTS_MAX + 1]);
        assert!(too_many.good.is_empty() && too_many.unmapped.is_some());
    }

    #[test]
    fn a_key_that_does_not_fit_hides_no_better_reason() {
        let mut source = source(Dialect::KeyPortDocs);
        source.keys.push(EndpointSecret {
            value: "another".into(),
            ..source.keys[0].clone()
        });
        // With the secret `s`, at second 0.
        let signature = "hmac-sha256=\
                         e79b1f685c78e46b2e3f94b5fbf00964e3e3d5ed4d1e270dcf671ac4cd2233fa";
        let headers = |name: &str| match name {
            "x-keyport-timestamp" => Some("0"),
            "x-keyport-signature" => Some(signature),
            _ => None,
        };
        let received = |now| Received {
            target: "/",
            url: None,
            headers: &headers,
            body: b"{}",
            now: Timestamp::from_seconds(now),
        };
        let judged = |now| authenticate(Dialect::KeyPortDocs, &source, &received(now));
        assert_eq!(judged(36 * 60 + 300), Ok(()));
        assert_eq!(judged(36 * 60 + 301), Err(VerifyError::TooOld(1)));
    }
}
