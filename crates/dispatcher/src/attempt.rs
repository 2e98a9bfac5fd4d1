use delivery::{Next, RetrySchedule};
use dialect::{Delivered, Dialect};
use model::{
    Attempt, AttemptId, Endpoint, ErrorClass, Outcome, RESPONSE_BODY_KEPT_MAX, Timestamp, Work,
};
use sender::{Reply, Request, Sender};
use std::time::Duration;
use telemetry::AttemptLabel;

/// Renders, signs and sends: one request, at most `timeout` long.
pub(crate) async fn exchange(
    sender: &Sender,
    work: &Work,
    endpoint: &Endpoint,
    timeout: Duration,
    now: Timestamp,
) -> Reply {
    let delivered = Delivered {
        event: &work.event,
        endpoint,
        delivery: work.delivery,
        now,
    };
    let rendered = Dialect::from_name(&endpoint.dialect).map(|dialect| dialect.render(&delivered));
    let Some(Ok(rendered)) = rendered else {
        return Reply {
            outcome: Outcome::Unanswered(ErrorClass::RenderFailed),
            duration: Duration::ZERO,
            headers: Vec::new(),
            body: Vec::new(),
        };
    };
    let request = Request {
        url: &endpoint.url,
        rendered,
        headers: &endpoint.headers,
        timeout,
    };
    sender.send(request).await
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

/// Draws the jitter and decides what follows the attempt that ended `now`.
pub(crate) fn decide(
    work: &Work,
    outcome: Outcome,
    schedule: &RetrySchedule,
    jitter: bool,
    now: Timestamp,
) -> Next {
    let spread = match schedule.delay_after(work.position()) {
        Some(delay) if jitter => ambient::random_below(delay / 10),
        _ => Duration::ZERO,
    };
    delivery::decide(outcome, work.position(), schedule, spread, now)
}
