use delivery::CircuitState;
use model::{DisabledReason, EndpointState};

use crate::{Exporter, NONE, NotSeen, signed};

/// Endpoints whose circuits are asked for at a time, so that nobody waits long behind it.
const CIRCUITS_MAX: usize = 256;

impl Exporter {
    /// Endpoints as they are configured, and what the shared state knows of them.
    pub(crate) async fn look_at_endpoints(&self) -> Result<(), NotSeen> {
        self.show_endpoints();
        let shared_state = &self.parts.shared_state;
        // Asked itself: what would stand in for it knows nothing of other processes.
        let used = match shared_state.ping().await {
            Ok(()) => shared_state.used_bytes().await,
            Err(error) => Err(error),
        };
        let seen = &self.seen;
        let up = seen.shared_state_up.with_label_values(NONE);
        up.set(i64::from(used.is_ok()));
        if let Some(bytes) = used? {
            let gauge = seen.shared_state_bytes.with_label_values(NONE);
            gauge.set(signed(bytes));
        }
        Ok(self.show_circuits().await?)
    }

    fn show_endpoints(&self) {
        let mut active = 0;
        let mut disabled = [0; DisabledReason::ALL.len()];
        for endpoint in self.parts.directory.snapshot().endpoints() {
            match &endpoint.state {
                EndpointState::Active => active += 1,
                EndpointState::Disabled { reason, .. } => {
                    let place = DisabledReason::ALL.iter().position(|one| one == reason);
                    disabled[place.expect("every reason is listed")] += 1;
                }
            }
        }
        let seen = &self.seen;
        let gauge = |state| seen.endpoints.with_label_values(&[state]);
        gauge("active").set(active);
        gauge("disabled").set(disabled.iter().sum());
        for (reason, count) in DisabledReason::ALL.iter().zip(disabled) {
            let gauge = seen
                .endpoints_disabled
                .with_label_values(&[reason.as_str()]);
            gauge.set(count);
        }
    }

    async fn show_circuits(&self) -> Result<(), shared_state::SharedStateError> {
        let snapshot = self.parts.directory.snapshot();
        let active = snapshot.endpoints().filter(|one| one.is_active());
        let endpoints: Vec<_> = active.map(|endpoint| endpoint.id).collect();
        let (mut open, mut half_open) = (0, 0);
        for chunk in endpoints.chunks(CIRCUITS_MAX) {
            for circuit in self.parts.shared_state.circuits(chunk).await? {
                match circuit.state {
                    CircuitState::Closed => {}
                    CircuitState::Open { .. } => open += 1,
                    CircuitState::HalfOpen { .. } => half_open += 1,
                }
            }
        }
        let gauge = |state| self.seen.circuits.with_label_values(&[state]);
        gauge("open").set(open);
        gauge("half_open").set(half_open);
        Ok(())
    }
}
