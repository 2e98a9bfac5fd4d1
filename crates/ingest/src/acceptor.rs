use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Destination, Publication, Queue};
use bytes::Bytes;
use group_commit::{Closed, Group, Limits};
use model::{Event, EventId, Submission, SubmissionError, TenantId, TraceParent};
use store::{Acceptance, Accepted, Directory, Store, StoreError, StoreWatch};
use telemetry::{Metrics, Span, Traces};
use tokio::sync::oneshot;

use crate::committer::{Committed, Committer};
use crate::prepare::{Prepared, prepare};

/// Events in one transaction at most.
const COMMIT_EVENTS_MAX: usize = 500;
/// Events that wait for a transaction at most.
const WAITING_EVENTS_MAX: usize = 4_096;

/// How events that were published over HTTP are counted.
pub(crate) const HTTP: &str = "http";

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub id: EventId,
    /// `None` for an event of no license, and for one that is still on its way to the store.
    pub sequence: Option<u64>,
    pub duplicate: bool,
}

/// Why an event was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    #[error("the id {0} belongs to another event")]
    Conflict(EventId),
    /// However often it is repeated.
    #[error("the store refuses the event {0}")]
    Unstorable(EventId),
    /// More events wait for the store than may; nothing was written.
    #[error("too many events are waiting to be stored")]
    Overloaded,
    /// Nothing durable can be reached. `reason` is fit for a user.
    #[error("{reason}")]
    Unavailable { reason: String },
}

/// What events are taken in with.
#[derive(Clone, Debug)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub store_watch: Arc<StoreWatch>,
    pub broker: Arc<dyn Broker>,
    pub directory: Arc<Directory>,
    /// Whether events may go through the broker while the store is away. Not so where both live
    /// on one disk.
    pub broker_stands_in: bool,
    pub metrics: Metrics,
    pub traces: Traces,
}

/// The one way in.
#[derive(Debug)]
pub struct Acceptor {
    pub(crate) parts: Parts,
    commits: Group<Acceptance, Committed>,
}

impl Acceptor {
    pub fn new(parts: Parts) -> Self {
        let committer = Committer::new(parts.clone());
        let limits = Limits {
            group_max: COMMIT_EVENTS_MAX,
            waiting_max: WAITING_EVENTS_MAX,
            ..Limits::default()
        };
        let commits = Group::spawn(limits, parts.metrics.group_sizes("accept"), move |batch| {
            Arc::clone(&committer).commit(batch)
        });
        Self { parts, commits }
    }

    /// Accepts one event that came over HTTP.
    pub async fn accept(
        &self,
        tenant: &TenantId,
        submission: Submission,
    ) -> Result<Answer, AcceptError> {
        if self.is_overloaded() {
            return Err(AcceptError::Overloaded);
        }
        let submissions = vec![Ok(submission)];
        let mut answers = self.accept_all(tenant, submissions, HTTP).await;
        answers.pop().expect("one submission has one answer")
    }

    /// Accepts events in order; each has its own answer. Those that could not be read pass their
    /// error through. They are counted as coming from `source`.
    pub(crate) async fn accept_all(
        &self,
        tenant: &TenantId,
        submissions: Vec<Result<Submission, SubmissionError>>,
        source: &str,
    ) -> Vec<Result<Answer, AcceptError>> {
        let started = tokio::time::Instant::now();
        let now = ambient::now();
        let snapshot = self.parts.directory.snapshot();
        let mut pending = Vec::with_capacity(submissions.len());
        for submission in submissions {
            let acceptance =
                submission.and_then(|submission| prepare(submission, tenant, &snapshot, now));
            pending.push(match acceptance {
                Ok(mut prepared) => {
                    let event = Arc::clone(&prepared.whole.event);
                    let span = prepared.begin(&self.parts.traces);
                    Ok((event, span, self.enqueue(prepared).await))
                }
                Err(error) => Err(error),
            });
        }
        let mut answers = Vec::with_capacity(pending.len());
        for acceptance in pending {
            let answer = match acceptance {
                Ok((event, span, commit)) => {
                    let trace = span.as_ref().map(Span::trace_parent);
                    let answer = match commit.wait().await {
                        Ok(committed) => self.answer(event, trace, committed).await,
                        Err(Closed) => Err(shutting_down()),
                    };
                    end(span, &answer);
                    answer
                }
                Err(error) => Err(error.into()),
            };
            self.count(&answer, source);
            answers.push(answer);
        }
        self.parts
            .metrics
            .accept_seconds
            .observe(started.elapsed().as_secs_f64());
        answers
    }

    /// Commits events that the broker holds already: it need not stand in for the store.
    pub(crate) async fn commit_all(
        &self,
        events: Vec<Prepared>,
    ) -> Vec<Result<Answer, AcceptError>> {
        let mut pending = Vec::with_capacity(events.len());
        for prepared in events {
            let id = prepared.whole.event.id.clone();
            pending.push((id, self.enqueue(prepared).await));
        }
        let mut answers = Vec::with_capacity(pending.len());
        for (id, commit) in pending {
            answers.push(match commit.wait().await {
                Ok(Ok(accepted)) => answer_of(id, accepted),
                Ok(Err(error)) => Err(not_stored(id, &error)),
                Err(Closed) => Err(shutting_down()),
            });
        }
        answers
    }

    async fn enqueue(&self, prepared: Prepared) -> Committing {
        let whole = self.commits.enqueue(prepared.whole).await;
        let mut parts = Vec::with_capacity(prepared.parts.len());
        for part in prepared.parts {
            parts.push(self.commits.enqueue(part).await);
        }
        Committing { whole, parts }
    }

    async fn answer(
        &self,
        event: Arc<Event>,
        trace: Option<TraceParent>,
        committed: Committed,
    ) -> Result<Answer, AcceptError> {
        match committed {
            Ok(accepted) => answer_of(event.id.clone(), accepted),
            Err(error) if self.parts.broker_stands_in && is_away(&error) => {
                self.send_through_broker(&event, trace, &error).await
            }
            Err(error) => Err(not_stored(event.id.clone(), &error)),
        }
    }

    async fn send_through_broker(
        &self,
        event: &Event,
        trace: Option<TraceParent>,
        store_error: &StoreError,
    ) -> Result<Answer, AcceptError> {
        let publication = Publication {
            to: Destination::Events {
                tenant: event.tenant.clone(),
                event_type: event.event_type.clone(),
                id: event.id.clone(),
                trace,
            },
            body: Bytes::from(Submission::from(event).to_json()),
        };
        match self.parts.broker.publish(vec![publication]).await {
            Ok(()) => Ok(Answer {
                id: event.id.clone(),
                sequence: None,
                duplicate: false,
            }),
            Err(broker_error) => {
                self.parts.metrics.dependency_failed("broker");
                let reason = format!("{store_error}, and {broker_error}");
                Err(AcceptError::Unavailable { reason })
            }
        }
    }

    pub(crate) fn count(&self, answer: &Result<Answer, AcceptError>, source: &str) {
        let (Ok(result) | Err(result)) = label(answer);
        self.parts
            .metrics
            .events
            .with_label_values(&[source, result])
            .inc();
    }

    /// For how long a message waited in a queue.
    pub(crate) fn waited(&self, queue: Queue, time: Duration) {
        self.parts.metrics.waited(queue.as_str(), time);
    }

    /// Counts an event that could not be read.
    pub(crate) fn count_rejected(&self, source: &str) {
        self.parts
            .metrics
            .events
            .with_label_values(&[source, REJECTED])
            .inc();
    }

    /// Whether more events wait for the store than may.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.commits.is_full()
    }
}

/// An event on its way into the store.
struct Committing {
    whole: Result<oneshot::Receiver<Committed>, Closed>,
    parts: Vec<Result<oneshot::Receiver<Committed>, Closed>>,
}

impl Committing {
    /// What became of the event, once all of it is durable. A repetition makes good what is not.
    async fn wait(self) -> Result<Committed, Closed> {
        let whole = self.whole?.await.map_err(|_| Closed)?;
        for part in self.parts {
            match part?.await.map_err(|_| Closed)? {
                Ok(Accepted::New { .. } | Accepted::Duplicate { .. }) => {}
                other @ (Ok(Accepted::Conflict) | Err(_)) => return Ok(other),
            }
        }
        Ok(whole)
    }
}

const REJECTED: &str = "rejected";

const fn label(answer: &Result<Answer, AcceptError>) -> Result<&'static str, &'static str> {
    match answer {
        Ok(Answer {
            duplicate: true, ..
        }) => Ok("duplicate"),
        Ok(_) => Ok("new"),
        Err(AcceptError::Conflict(_)) => Err("conflict"),
        Err(AcceptError::Submission(_) | AcceptError::Unstorable(_)) => Err(REJECTED),
        Err(AcceptError::Overloaded | AcceptError::Unavailable { .. }) => Err("unavailable"),
    }
}

/// Ends the span of an event's acceptance.
pub(crate) fn end(span: Option<Span>, answer: &Result<Answer, AcceptError>) {
    if let Some(span) = span {
        span.end(label(answer), ambient::now());
    }
}

fn answer_of(id: EventId, accepted: Accepted) -> Result<Answer, AcceptError> {
    match accepted {
        Accepted::New { sequence } => Ok(Answer {
            id,
            sequence,
            duplicate: false,
        }),
        Accepted::Duplicate { sequence } => Ok(Answer {
            id,
            sequence,
            duplicate: true,
        }),
        Accepted::Conflict => Err(AcceptError::Conflict(id)),
    }
}

fn not_stored(id: EventId, error: &StoreError) -> AcceptError {
    if is_away(error) {
        let reason = error.to_string();
        return AcceptError::Unavailable { reason };
    }
    AcceptError::Unstorable(id)
}

/// Whether the same events can be stored later.
pub(crate) const fn is_away(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable { .. } => true,
        StoreError::Conflict | StoreError::Corrupt(_) => false,
    }
}

fn shutting_down() -> AcceptError {
    AcceptError::Unavailable {
        reason: "this process is shutting down".to_owned(),
    }
}
