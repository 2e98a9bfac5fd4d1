//! Enums as the small integers that both adapters store. A code is never given another meaning.

use model::{DeliveryStatus, Environment, HoldReason, Timestamp};

use crate::{StoreError, Verdict};

pub(crate) const QUEUED: i16 = 0;
pub(crate) const RETRYING: i16 = 1;
pub(crate) const HELD: i16 = 2;
pub(crate) const DELIVERED: i16 = 3;
pub(crate) const FAILED: i16 = 4;
pub(crate) const DISCARDED: i16 = 5;
/// Added to a hold reason, where tallies tell held deliveries apart.
const HELD_FOR: i16 = 10;

pub(crate) const fn status(status: DeliveryStatus) -> i16 {
    match status {
        DeliveryStatus::Queued => QUEUED,
        DeliveryStatus::Retrying => RETRYING,
        DeliveryStatus::Held => HELD,
        DeliveryStatus::Delivered => DELIVERED,
        DeliveryStatus::Failed => FAILED,
        DeliveryStatus::Discarded => DISCARDED,
    }
}

pub(crate) fn read_status(code: i16) -> Result<DeliveryStatus, StoreError> {
    find(DeliveryStatus::ALL, code, status, "status")
}

pub(crate) const fn hold_reason(reason: HoldReason) -> i16 {
    match reason {
        HoldReason::EndpointDisabled => 0,
        HoldReason::CircuitOpen => 1,
        HoldReason::RateLimit => 2,
        HoldReason::MaxInFlight => 3,
    }
}

pub(crate) fn read_hold_reason(code: i16) -> Result<HoldReason, StoreError> {
    find(HoldReason::ALL, code, hold_reason, "hold reason")
}

/// Status and hold reason of a tally: held deliveries are tallied by reason, [`HELD_FOR`] and more.
pub(crate) fn read_state(code: i16) -> Result<(DeliveryStatus, Option<HoldReason>), StoreError> {
    if code < HELD_FOR {
        return Ok((read_status(code)?, None));
    }
    let reason = read_hold_reason(code - HELD_FOR)?;
    Ok((DeliveryStatus::Held, Some(reason)))
}

pub(crate) const fn environment(environment: Environment) -> i16 {
    match environment {
        Environment::Production => 0,
        Environment::Staging => 1,
        Environment::Development => 2,
    }
}

pub(crate) fn read_environment(code: i16) -> Result<Environment, StoreError> {
    let all = &[
        Environment::Production,
        Environment::Staging,
        Environment::Development,
    ];
    find(all, code, environment, "environment")
}

/// Status and hold reason after a verdict.
pub(crate) const fn verdict(verdict: Verdict) -> (i16, Option<i16>) {
    match verdict {
        Verdict::Delivered => (DELIVERED, None),
        Verdict::Retrying { .. } => (RETRYING, None),
        Verdict::Failed => (FAILED, None),
        Verdict::Held(reason) => (HELD, Some(hold_reason(reason))),
    }
}

/// When the next attempt is due after a verdict.
pub(crate) const fn due_at(verdict: Verdict) -> Option<Timestamp> {
    match verdict {
        Verdict::Retrying { due_at } => Some(due_at),
        Verdict::Delivered | Verdict::Failed | Verdict::Held(_) => None,
    }
}

fn find<T: Copy>(all: &[T], code: i16, of: fn(T) -> i16, what: &str) -> Result<T, StoreError> {
    all.iter()
        .copied()
        .find(|value| of(*value) == code)
        .ok_or_else(|| StoreError::Corrupt(format!("{what} {code}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_final_ones_come_last() {
        for value in DeliveryStatus::ALL {
            assert_eq!(read_status(status(*value)).unwrap(), *value);
            let is_final = match value {
                DeliveryStatus::Queued | DeliveryStatus::Retrying | DeliveryStatus::Held => false,
                DeliveryStatus::Delivered | DeliveryStatus::Failed | DeliveryStatus::Discarded => {
                    true
                }
            };
            assert_eq!(status(*value) >= DELIVERED, is_final, "{value}");
        }
        for value in HoldReason::ALL {
            assert_eq!(read_hold_reason(hold_reason(*value)).unwrap(), *value);
        }
        for value in [
            Environment::Production,
            Environment::Staging,
            Environment::Development,
        ] {
            assert_eq!(read_environment(environment(value)).unwrap(), value);
        }
        assert!(read_status(6).is_err());
    }
}
