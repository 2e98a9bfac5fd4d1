use std::sync::Arc;
use std::time::Duration;

use dialect::{Delivered, Dialect, Rendered};
use model::{
    Attempt, AttemptId, Endpoint, ErrorClass, Outcome, RESPONSE_BODY_KEPT_MAX, TRACE_PARENT_HEADER,
    Timestamp, TraceParent, Work,
};
use sender::{Reply, Request, Sender};
use store::Directory;
use telemetry::{AttemptLabel, Span, Traces};

use crate::signing::KeyRing;

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Exchanges {
    sender: Arc<Sender>,
    directory: Arc<Directory>,
    key_ring: KeyRing,
    traces: Traces,
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

    /// Renders, signs and sends: one request, at most `timeout` long, for one delivery or for a
    /// batch to the same endpoint.
    pub(crate) async fn make(
        &self,
        works: &[Work],
        endpoint: &Endpoint,
        timeout: Duration,
        now: Timestamp,
    ) -> Reply {
        let begin = |work| self.traces.attempt(work, now);
        let spans: Vec<_> = works.iter().filter_map(begin).collect();
        let trace = spans.first().map(Span::trace_parent);
        let reply = match self.render(works, endpoint, now) {
            Some(mut rendered) => {
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
            None => Reply {
                outcome: Outcome::Unanswered(ErrorClass::RenderFailed),
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

    fn render(&self, works: &[Work], endpoint: &Endpoint, now: Timestamp) -> Option<Rendered> {
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
        Dialect::of(endpoint)?.render_batch(&batch).ok()
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
