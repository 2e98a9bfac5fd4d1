use std::sync::Arc;
use std::time::Duration;

use broker::{Ack, Destination, Headers, Incoming, Publication, Queue};
use model::{EventForm, EventId, EventLimits, Submission, SubmissionError, TenantId, Timestamp};
use store::Snapshot;
use tokio_util::sync::CancellationToken;

use crate::acceptor::{AcceptError, Acceptor, Answer, end};
use crate::prepare::{Prepared, prepare};

/// Events taken from the broker and not yet committed at most.
const PREFETCH: u16 = 500;
/// An event cannot have waited longer: it would have been missed.
const WAITED_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A publisher's clock may be ahead by so much.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// How long to wait before a dependency is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How events that were published over AMQP are counted.
const AMQP: &str = "amqp";

/// Reads what was published to `license.events`. What cannot be understood goes to the queue of
/// rejected events with its reason; while the store is away, messages wait where they are.
#[derive(Debug)]
pub struct Intake {
    acceptor: Arc<Acceptor>,
}

impl Intake {
    pub fn new(acceptor: Arc<Acceptor>) -> Self {
        Self { acceptor }
    }

    /// Runs until `shutdown`; what is not committed by then comes again.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut consumer = self.acceptor.parts.broker.consume(Queue::Intake, PREFETCH);
        shutdown
            .run_until_cancelled(async {
                while let Some(batch) = consumer.next_batch(PREFETCH.into()).await {
                    self.take_in(batch).await;
                }
            })
            .await;
    }

    async fn take_in(&self, batch: Vec<Incoming>) {
        let directory = self.acceptor.parts.directory.snapshot();
        let now = ambient::now();
        let mut acceptances = Vec::new();
        let mut accepted = Vec::new();
        let mut rejected = Vec::new();
        for message in batch {
            if let Some(waited) = waited(message.headers.published_at, now) {
                self.acceptor.waited(Queue::Intake, waited);
            }
            let acceptance = read(&message, &directory).and_then(|(tenant, submission)| {
                prepare(submission, &tenant, &directory, now).map_err(Rejection::Submission)
            });
            match acceptance {
                Ok(mut acceptance) => {
                    accepted.push((message, acceptance.begin(&self.acceptor.parts.traces)));
                    acceptances.push(acceptance);
                }
                Err(reason) => {
                    self.acceptor.count_rejected(AMQP);
                    rejected.push((message, reason.to_string()));
                }
            }
        }
        let answers = self.commit(acceptances).await;
        for ((message, span), answer) in accepted.into_iter().zip(answers) {
            end(span, &answer);
            match answer {
                Ok(_) => message.ack.ack(),
                Err(error) => rejected.push((message, error.to_string())),
            }
        }
        self.reject(rejected).await;
    }

    /// Commits, however long the store is away. A repetition is as good as the first time.
    async fn commit(&self, acceptances: Vec<Prepared>) -> Vec<Result<Answer, AcceptError>> {
        loop {
            let answers = self.acceptor.commit_all(acceptances.clone()).await;
            if !answers.iter().any(is_unavailable) {
                for answer in &answers {
                    self.acceptor.count(answer, AMQP);
                }
                return answers;
            }
            tokio::time::sleep(RETRY_AFTER).await;
            while self.acceptor.parts.store_watch.is_away() {
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }

    async fn reject(&self, rejected: Vec<(Incoming, String)>) {
        if rejected.is_empty() {
            return;
        }
        let at = ambient::now();
        let (publications, acks): (Vec<_>, Vec<Ack>) = rejected
            .into_iter()
            .map(|(message, reason)| {
                let to = Destination::Rejected {
                    reason,
                    at,
                    headers: message.headers.into(),
                };
                (
                    Publication {
                        to,
                        body: message.body,
                    },
                    message.ack,
                )
            })
            .unzip();
        while let Err(error) = self
            .acceptor
            .parts
            .broker
            .publish(publications.clone())
            .await
        {
            tracing::warn!(error = %error, "rejected events wait for the broker");
            tokio::time::sleep(RETRY_AFTER).await;
        }
        acks.into_iter().for_each(Ack::ack);
    }
}

/// For how long a message waited, if its timestamp can be right.
fn waited(published_at: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let published_at = published_at?;
    let is_sane = now.since(published_at) < WAITED_MAX && published_at.since(now) < AHEAD_MAX;
    is_sane.then(|| now.since(published_at))
}

fn is_unavailable(answer: &Result<Answer, AcceptError>) -> bool {
    matches!(answer, Err(AcceptError::Unavailable { .. }))
}

/// Why a published message is no event.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error(
        "no tenant: send the header {} or publish as a user named like the tenant",
        broker::TENANT_HEADER
    )]
    NoTenant,
    #[error("there is no tenant {0}")]
    UnknownTenant(String),
    #[error("message-id: {0}")]
    MessageId(model::IdError),
    #[error("{0}")]
    Submission(SubmissionError),
}

fn read(message: &Incoming, directory: &Snapshot) -> Result<(TenantId, Submission), Rejection> {
    let tenant = tenant(&message.headers, directory)?;
    let known = |name: &str| directory.knows_event_type(&tenant, name);
    let content_type = message.headers.content_type.as_deref().unwrap_or_default();
    let form = EventForm::of(content_type);
    // It may be one that came over HTTP, while the store was away.
    let limits = EventLimits::PASSED_ON;
    let mut submission =
        Submission::read(form, &message.body, limits, known).map_err(Rejection::Submission)?;
    if let (None, Some(id)) = (&submission.id, &message.headers.message_id) {
        submission.id = Some(EventId::new(id).map_err(Rejection::MessageId)?);
    }
    submission.trace = message.headers.trace;
    Ok((tenant, submission))
}

fn tenant(headers: &Headers, directory: &Snapshot) -> Result<TenantId, Rejection> {
    let named = headers
        .tenant
        .as_ref()
        .or(headers.user_id.as_ref())
        .ok_or(Rejection::NoTenant)?;
    TenantId::new(named)
        .ok()
        .filter(|tenant| directory.tenant(tenant).is_some())
        .ok_or_else(|| Rejection::UnknownTenant(named.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_that_cannot_be_right_says_nothing() {
        let now = Timestamp::from_seconds(1_776_254_400);
        let second = Duration::from_secs(1);
        assert_eq!(waited(None, now), None);
        assert_eq!(waited(Some(now.minus(second)), now), Some(second));
        assert_eq!(waited(Some(now.plus(second)), now), Some(Duration::ZERO));
        for wrong in [Timestamp::EPOCH, now.minus(WAITED_MAX), now.plus(AHEAD_MAX)] {
            assert_eq!(waited(Some(wrong), now), None, "{wrong}");
        }
    }

    #[test]
    fn reasons_say_what_to_do() {
        assert_eq!(
            Rejection::NoTenant.to_string(),
            "no tenant: send the header fanfare-tenant or publish as a user named like the tenant"
        );
    }
}
