//! One delivery, from its place in the lane to a durable outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{Destination, Publication};
use bytes::Bytes;
use delivery::{CircuitChange, Next};
use model::{
    Attempt, CircuitAction, DeliveryStatus, DisabledReason, Endpoint, ErrorClass, HoldReason,
    OnExhausted, Outcome, Timestamp, Work,
};
use shared_state::{Claim, Settled};
use store::{Record, Verdict};
use tokio_util::sync::CancellationToken;

use crate::Dispatcher;
use crate::attempt::{Exchange, attempt, label};
use crate::batches::Sent;
use crate::claims::Known;
use crate::lane::{Entry, Lane, Permit, Waiting};
use crate::schedule::decide;

/// An endpoint that this process has not heard of is looked up, but not more often than this.
const LOOK_UP_EVERY: Duration = Duration::from_millis(250);
/// How long a delivery waits in line before it looks whether the endpoint has stalled.
const LINE_PATIENCE: Duration = Duration::from_secs(1);

impl Dispatcher {
    /// Reads top to bottom: still due → endpoint → lane → claim → attempt. Each exit has a name.
    pub(crate) async fn work_on(
        &self,
        work: &Work,
        redelivered: bool,
        entry: Option<Entry>,
        shutdown: &CancellationToken,
    ) -> End {
        if !self.is_due(work, redelivered).await {
            return End::Done;
        }
        let Some(endpoint) = self.endpoint(work).await else {
            return End::Done;
        };
        let entry = match entry {
            Some(entry) => entry,
            None if self.may_enter(&endpoint, work) => {
                let lane = self.lanes.of(&endpoint);
                lane.enter(work.is_urgent(), Instant::now())
            }
            None if endpoint.is_active() => return End::Hold(HoldReason::RateLimit),
            None => return End::Hold(HoldReason::EndpointDisabled),
        };
        let permit = match self.pass(entry, shutdown).await {
            Way::In(permit) => permit,
            Way::Full => return End::Hold(HoldReason::MaxInFlight),
            Way::Ending => return End::Unfinished,
        };
        // Waiting in line takes a while: the endpoint may have been changed or disabled.
        let Some(endpoint) = self.endpoint(work).await else {
            return End::Done;
        };
        if !endpoint.is_active() {
            return End::Hold(HoldReason::EndpointDisabled);
        }
        let lane = self.lanes.of(&endpoint);
        match self.claims.claim(work, &lane.policy).await {
            Some(Claim::Granted { probe, troubled }) => {
                let granted = Granted {
                    permit,
                    probe,
                    troubled,
                };
                self.attempt(work, &endpoint, &lane, granted).await
            }
            // Somebody else has it; if they die, the sweeper finds the delivery.
            Some(Claim::Busy | Claim::Done { succeeded: false }) => End::Done,
            // Made, but perhaps not recorded.
            Some(Claim::Done { succeeded: true }) => {
                self.record(work, None, Verdict::Delivered).await
            }
            Some(Claim::CircuitOpen { .. }) => End::Hold(HoldReason::CircuitOpen),
            Some(Claim::RateLimited { .. }) => End::Hold(HoldReason::RateLimit),
            None => End::Unfinished,
        }
    }

    /// Whether the delivery may go to the endpoint's lane: not while the endpoint is disabled, nor
    /// past those that its rate holds back.
    pub(crate) fn may_enter(&self, endpoint: &Endpoint, work: &Work) -> bool {
        let overtakes = work.released || work.is_urgent() || !self.holding.contains(endpoint.id);
        endpoint.is_active() && (endpoint.rate_per_minute().is_none() || overtakes)
    }

    /// The endpoint as it is now. One that this process has not heard of yet is looked up.
    async fn endpoint(&self, work: &Work) -> Option<Arc<Endpoint>> {
        let directory = &self.parts.directory;
        if let Some(endpoint) = directory.snapshot().endpoint(work.endpoint) {
            return Some(Arc::clone(endpoint));
        }
        let mut looked_up_at = self.looked_up_at.lock().await;
        if looked_up_at.is_none_or(|at| at.elapsed() > LOOK_UP_EVERY) {
            if let Err(error) = directory.refresh().await {
                tracing::warn!(error = %error, "cannot look an endpoint up");
            }
            *looked_up_at = Some(Instant::now());
        }
        let found = directory.snapshot().endpoint(work.endpoint).cloned();
        if found.is_none() {
            // Deleted, perhaps before all it had was discarded: the releaser sees to that.
            self.holding.note_held(work.endpoint, Instant::now());
        }
        found
    }

    /// Whether the store still wants this attempt. Only asked where the message alone cannot
    /// tell: for repetitions, retries, and while claims hold in this process only.
    async fn is_due(&self, work: &Work, redelivered: bool) -> bool {
        if !redelivered && work.attempt == 1 && !self.claims.is_degraded() {
            return true;
        }
        match self.claims.standing(work.delivery).await {
            Known::Standing(standing) => {
                let wants = match standing.status {
                    DeliveryStatus::Queued | DeliveryStatus::Retrying => true,
                    DeliveryStatus::Held
                    | DeliveryStatus::Delivered
                    | DeliveryStatus::Failed
                    | DeliveryStatus::Discarded => false,
                };
                wants && standing.attempts + 1 == work.attempt
            }
            Known::NoSuchDelivery => false,
            Known::Unknown => true,
        }
    }

    async fn pass(&self, entry: Entry, shutdown: &CancellationToken) -> Way {
        let Waiting { lane, mut granted } = match entry {
            Entry::Open(permit) => return Way::In(permit),
            Entry::Full => return Way::Full,
            Entry::Wait(waiting) => waiting,
        };
        self.parts.metrics.waiting.inc();
        let way = loop {
            tokio::select! {
                permit = &mut granted => break permit.map_or(Way::Ending, Way::In),
                () = shutdown.cancelled() => break Way::Ending,
                () = tokio::time::sleep(LINE_PATIENCE) => {
                    if lane.is_stalled(Instant::now()) {
                        break Way::Full;
                    }
                }
            }
        };
        self.parts.metrics.waiting.dec();
        way
    }

    async fn attempt(
        &self,
        work: &Work,
        endpoint: &Arc<Endpoint>,
        lane: &Lane,
        granted: Granted,
    ) -> End {
        let metrics = &self.parts.metrics;
        metrics.in_flight.inc();
        let sent = self.send(work, endpoint, lane, granted.probe).await;
        metrics.in_flight.dec();
        drop(granted.permit);
        let Some(Sent {
            reply,
            started_at,
            leads,
        }) = sent
        else {
            let (policy, troubled) = (&lane.policy, granted.troubled);
            let settled = self
                .claims
                .settle(work, policy, Settled::Released, troubled);
            settled.await;
            return End::Hold(HoldReason::MaxInFlight);
        };

        let outcome = reply.outcome;
        let now = ambient::now();
        if leads {
            let seconds = reply.duration.as_secs_f64();
            metrics.attempted(&endpoint.dialect, label(outcome), seconds);
            let by_customer = metrics.by_customer();
            by_customer.attempted(endpoint.id, label(outcome), seconds);
        }
        let next = decide(work.position(), outcome, &lane.schedule, now);
        let was_sent = !matches!(
            outcome,
            Outcome::Unanswered(ErrorClass::RenderFailed | ErrorClass::Misconfigured)
        );
        if was_sent {
            lane.finished(next == Next::Delivered);
        }
        let settled = settled(next, leads && was_sent);
        let change = self
            .claims
            .settle(work, &lane.policy, settled, granted.troubled)
            .await;
        self.circuit_changed(endpoint, lane, change);

        let attempt = Some(attempt(work, reply, started_at));
        match next {
            Next::Delivered => {
                // One that a person sends once more was judged when it ended.
                if work.attempts_before == 0 {
                    let took = now.since(work.event.accepted_at);
                    metrics.delivery_seconds.observe(took.as_secs_f64());
                }
                self.record(work, attempt, Verdict::Delivered).await
            }
            Next::RetryAt(due_at) => {
                metrics.retries.inc();
                let end = self
                    .record(work, attempt, Verdict::Retrying { due_at })
                    .await;
                if end == End::Done {
                    self.schedule(work, due_at).await;
                }
                end
            }
            Next::Exhausted => {
                if lane.policy.on_exhausted == OnExhausted::Disable {
                    self.disabling
                        .disable(endpoint.id, DisabledReason::Exhausted);
                }
                self.record(work, attempt, Verdict::Failed).await
            }
            Next::Gone => {
                self.disabling.disable(endpoint.id, DisabledReason::Gone);
                self.record(work, attempt, Verdict::Failed).await
            }
            Next::Unsendable => self.record(work, attempt, Verdict::Failed).await,
        }
    }

    /// Makes the request, alone or with others. Retries go alone, so that an event that its
    /// receiver refuses spoils its neighbours no second time; urgent events do not wait; and what
    /// a probe finds out counts for the circuit.
    async fn send(
        &self,
        work: &Work,
        endpoint: &Arc<Endpoint>,
        lane: &Lane,
        probe: bool,
    ) -> Option<Sent> {
        if work.attempt == 1
            && !work.is_urgent()
            && !probe
            && let Some(batcher) = lane.batcher(&self.exchanges)
        {
            return batcher.send(work, endpoint).await;
        }
        let started_at = ambient::now();
        let exchange = Exchange::new(std::slice::from_ref(work), endpoint, started_at);
        let reply = self.exchanges.make(exchange, lane.policy.timeout).await;
        Some(Sent {
            reply,
            started_at,
            leads: true,
        })
    }

    fn circuit_changed(&self, endpoint: &Endpoint, lane: &Lane, change: CircuitChange) {
        let label = match change {
            CircuitChange::None => return,
            CircuitChange::Opened => "opened",
            CircuitChange::Reopened => "reopened",
            CircuitChange::Closed => "closed",
        };
        self.parts
            .metrics
            .circuits
            .with_label_values(&[label])
            .inc();
        tracing::info!(endpoint.id = %endpoint.id, change = label, "circuit");
        self.open_circuits
            .set(endpoint.id, change != CircuitChange::Closed);
        match (change, lane.policy.circuit_action) {
            (CircuitChange::Opened, CircuitAction::Disable) => {
                self.disabling
                    .disable(endpoint.id, DisabledReason::CircuitOpened);
            }
            (CircuitChange::Closed, _) => self.holding.circuit_closed(endpoint.id, Instant::now()),
            (CircuitChange::Opened | CircuitChange::Reopened | CircuitChange::None, _) => {}
        }
    }

    /// Hands the next attempt to the broker. If that fails, the store knows when it is due.
    async fn schedule(&self, work: &Work, due_at: Timestamp) {
        let next = Work {
            attempt: work.attempt + 1,
            due_at_ms: due_at.as_millis(),
            queued_at_ms: ambient::now().as_millis(),
            released: false,
            ..work.clone()
        };
        let to = Destination::Delivery {
            urgent: work.is_urgent(),
            due_at: Some(due_at),
        };
        let retry = Publication {
            to,
            body: Bytes::from(next.to_json()),
        };
        if self.parts.broker.publish(vec![retry]).await.is_err() {
            self.parts.metrics.dependency_failed("broker");
        }
    }

    /// Puts the delivery aside in the store; whether that is durable.
    pub(crate) async fn hold(&self, work: &Work, reason: HoldReason) -> bool {
        let held = &self.parts.metrics.held;
        held.with_label_values(&[reason.as_str()]).inc();
        let end = self.record(work, None, Verdict::Held(reason)).await;
        self.holding.note_held(work.endpoint, Instant::now());
        end == End::Done
    }

    async fn record(&self, work: &Work, attempt: Option<Attempt>, verdict: Verdict) -> End {
        match verdict {
            Verdict::Delivered => self.finished(work, DeliveryStatus::Delivered),
            Verdict::Failed => self.finished(work, DeliveryStatus::Failed),
            Verdict::Retrying { .. } | Verdict::Held(_) => {}
        }
        let record = Record {
            delivery: work.delivery,
            attempt,
            attempts_made: work.attempt - 1,
            verdict,
            at: ambient::now(),
        };
        if self.recorder.record(record).await {
            End::Done
        } else {
            End::Unfinished
        }
    }

    fn finished(&self, work: &Work, status: DeliveryStatus) {
        let (metrics, status) = (&self.parts.metrics, status.as_str());
        metrics.finished.with_label_values(&[status]).inc();
        let tenant = work.event.tenant.as_str();
        metrics.by_customer().finished(tenant, status);
    }
}

/// How this process is done with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// What became of it is durable.
    Done,
    /// It is to be held.
    Hold(HoldReason),
    /// The process is ending; the message goes back.
    Unfinished,
}

/// What the circuit hears of an attempt, if its failure counts: a failed batch is one failure of the
/// endpoint, what was not sent is none.
const fn settled(next: Next, counts: bool) -> Settled {
    match next {
        Next::Delivered => Settled::Succeeded,
        Next::RetryAt(_) | Next::Exhausted | Next::Gone if counts => Settled::Failed,
        Next::RetryAt(_) | Next::Exhausted | Next::Gone | Next::Unsendable => Settled::Uncounted,
    }
}

/// What an attempt has been granted.
struct Granted {
    permit: Permit,
    /// It finds out whether the endpoint is back.
    probe: bool,
    /// The circuit must hear of a success.
    troubled: bool,
}

/// How a delivery got past its lane.
enum Way {
    In(Permit),
    /// Not soon: hold it.
    Full,
    /// The process is ending; the message goes back.
    Ending,
}
