use std::sync::Arc;
use std::time::Duration;

use dialect::{Delivered, Dialect, RenderError, Rendered};
use model::{
    Attempt, AttemptId, Endpoint, ErrorClass, Outcome, RESPONSE_BODY_KEPT_MAX, TRACE_PARENT_HEADER,
    Timestamp, TraceParent, Work,
};
use sender::{Reply, Request, Sender};
use store::Directory;
use telemetry::{AttemptLabel, Traces};

use crate::signing::KeyRing;

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Exchanges {
    sender: Arc<Sender>,
    directory: Arc<Directory>,
    key_ring: KeyRing,
    traces: Traces,
}

/// One request to make: for one delivery, or for a batch to the same endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange<'a> {
    works: &'a [Work],
    endpoint: &'a Endpoint,
    now: Timestamp,
}

impl<'a> Exchange<'a> {
    pub(crate) const fn new(works: &'a [Work], endpoint: &'a Endpoint, now: Timestamp) -> Self {
        Self {
            works,
            endpoint,
            now,
        }
    }
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unrenderable {
    #[error("this version does not know the endpoint's dialect")]
    Dialect,
    #[error(transparent)]
    Render(#[from] RenderError),
}

impl Unrenderable {
    /// Whether the event is the reason, which stays as it is, or the endpoint, which can be mended.
    const fn class(&self) -> ErrorClass {
        match self {
            Self::Render(RenderError::NotExpressible | RenderError::BadData(_)) => {
                ErrorClass::RenderFailed
            }
            Self::Dialect
            | Self::Render(
                RenderError::NoBatches
                | RenderError::NoSecret
                | RenderError::NoSigningKey(_)
                | RenderError::BadSecret(_)
                | RenderError::BadOptions,
            ) => ErrorClass::Misconfigured,
        }
    }
}

impl Exchanges {
    pub(crate) fn new(sender: Arc<Sender>, directory: Arc<Directory>, traces: Traces) -> Arc<Self> {
        Arc::new(Self {
            sender,
            directory,
            traces,
            key_ring: KeyRing::default(),
        })
    }

    /// Whether the endpoint is still as it is here.
    pub(crate) fn is_current(&self, endpoint: &Endpoint) -> bool {
        let snapshot = self.directory.snapshot();
        let now = snapshot.endpoint(endpoint.id);
        now.is_some_and(|now| now.revision == endpoint.revision)
    }

    /// Renders, signs and sends: one request, at most `timeout` long.
    pub(crate) async fn make(&self, exchange: Exchange<'_>, timeout: Duration) -> Reply {
        let rendered = self.render(exchange);
        self.send(exchange, rendered, timeout).await
    }

    /// Sends what was rendered, or answers why it was not.
    pub(crate) async fn send(
        &self,
        exchange: Exchange<'_>,
        rendered: Result<Rendered, Unrenderable>,
        timeout: Duration,
    ) -> Reply {
        let Exchange {
            works,
            endpoint,
            now,
        } = exchange;
        let begin = |work| self.traces.attempt(work, now);
        let spans: Vec<_> = works.iter().filter_map(begin).collect();
        let trace = match spans.first() {
            Some(span) => Some(span.trace_parent()),
            None => works[0].trace,
        };
        let reply = match rendered {
            Ok(mut rendered) => {
                if let Some(trace) = trace {
                    send_along(trace, &mut rendered, endpoint);
                }
                let request = Request {
                    url: &endpoint.url,
                    rendered,
                    headers: &endpoint.headers,
                    timeout,
                };
                self.sender.send(request).await
            }
            Err(reason) => Reply {
                outcome: Outcome::Unanswered(reason.class()),
                error_detail: Some(reason.to_string()),
                duration: Duration::ZERO,
                headers: Vec::new(),
                body: Vec::new(),
            },
        };
        for span in spans {
            span.end(label(reply.outcome).result(), now.plus(reply.duration));
        }
        reply
    }

    pub(crate) fn render(&self, exchange: Exchange<'_>) -> Result<Rendered, Unrenderable> {
        let Exchange {
            works,
            endpoint,
            now,
        } = exchange;
        let keys = self.key_ring.of(endpoint, &self.directory.snapshot());
        let batch: Vec<_> = works
            .iter()
            .map(|work| Delivered {
                event: &work.event,
                endpoint,
                delivery: work.delivery,
                keys: &keys,
                now,
            })
            .collect();
        let dialect = Dialect::of(endpoint).ok_or(Unrenderable::Dialect)?;
        Ok(dialect.render_batch(&batch)?)
    }
}

/// Tells the receiver the trace, unless the dialect or the endpoint has its own use for the header.
fn send_along(trace: TraceParent, rendered: &mut Rendered, endpoint: &Endpoint) {
    let is_it = |name: &str| name.eq_ignore_ascii_case(TRACE_PARENT_HEADER);
    let taken = rendered.headers.iter().any(|(name, _)| is_it(name))
        || endpoint.headers.keys().any(|name| is_it(name));
    if !taken {
        let header = (TRACE_PARENT_HEADER, trace.to_string());
        rendered.headers.push(header);
    }
}

/// The attempt as it is kept.
pub(crate) fn attempt(work: &Work, reply: Reply, started_at: Timestamp) -> Attempt {
    let mut response_body = reply.body;
    response_body.truncate(RESPONSE_BODY_KEPT_MAX);
    Attempt {
        id: AttemptId::new(started_at, ambient::random_id()),
        delivery: work.delivery,
        number: work.attempt,
        started_at,
        duration: reply.duration,
        outcome: reply.outcome,
        error_detail: reply.error_detail,
        response_headers: reply.headers,
        response_body,
    }
}

pub(crate) const fn label(outcome: Outcome) -> AttemptLabel {
    match outcome {
        Outcome::Answered { status, .. } => AttemptLabel::Status(status),
        Outcome::Unanswered(class) => AttemptLabel::Error(class.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_event_forbids_is_final() {
        let class = |error: RenderError| Unrenderable::from(error).class();
        for error in [RenderError::NotExpressible, RenderError::BadData("odd")] {
            assert_eq!(class(error), ErrorClass::RenderFailed);
        }
        for error in [
            RenderError::NoBatches,
            RenderError::NoSecret,
            RenderError::NoSigningKey("ed25519"),
            RenderError::BadSecret("short"),
            RenderError::BadOptions,
        ] {
            assert_eq!(class(error), ErrorClass::Misconfigured);
        }
        assert_eq!(Unrenderable::Dialect.class(), ErrorClass::Misconfigured);
    }
}
