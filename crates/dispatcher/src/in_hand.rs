use std::collections::HashSet;
use std::sync::Arc;

use model::{DeliveryId, Work};
use parking_lot::Mutex;

/// The attempts this process is working on: from receipt until what became of them is durable, or
/// they are about to be held. A second message for one of them is a repetition, whatever the shared
/// state says.
#[derive(Clone, Debug, Default)]
pub(crate) struct InHand {
    attempts: Arc<Mutex<HashSet<(DeliveryId, u32)>>>,
}

/// One attempt in hand; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Taken {
    in_hand: InHand,
    attempt: (DeliveryId, u32),
}

impl InHand {
    /// Takes an attempt, unless it is in hand already.
    pub(crate) fn take(&self, work: &Work) -> Option<Taken> {
        let attempt = (work.delivery, work.attempt);
        let fresh = self.attempts.lock().insert(attempt);
        fresh.then(|| Taken {
            in_hand: self.clone(),
            attempt,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.in_hand.attempts.lock().remove(&self.attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::tests::work;

    #[test]
    fn an_attempt_is_in_hand_once_until_it_is_let_go_and_the_next_is_another() {
        let (in_hand, work) = (InHand::default(), work("a"));
        let retry = Work {
            attempt: 2,
            ..work.clone()
        };
        let taken = in_hand.take(&work);
        assert!(taken.is_some());
        assert!(in_hand.take(&work).is_none());
        assert!(in_hand.take(&retry).is_some());
        drop(taken);
        assert!(in_hand.take(&work).is_some());
    }
}
