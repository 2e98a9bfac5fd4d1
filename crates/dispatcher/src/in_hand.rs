use std::collections::HashSet;
use std::sync::Arc;

use model::DeliveryId;
use parking_lot::Mutex;

/// The deliveries this process is working on: from receipt until what became of them is durable.
/// A second message for one of them is a repetition, whatever the shared state says.
#[derive(Clone, Debug, Default)]
pub(crate) struct InHand {
    deliveries: Arc<Mutex<HashSet<DeliveryId>>>,
}

/// One delivery in hand; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Taken {
    in_hand: InHand,
    delivery: DeliveryId,
}

impl InHand {
    /// Takes a delivery, unless it is in hand already.
    pub(crate) fn take(&self, delivery: DeliveryId) -> Option<Taken> {
        let fresh = self.deliveries.lock().insert(delivery);
        fresh.then(|| Taken {
            in_hand: self.clone(),
            delivery,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.in_hand.deliveries.lock().remove(&self.delivery);
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    #[test]
    fn a_delivery_is_in_hand_once_until_it_is_let_go() {
        let in_hand = InHand::default();
        let delivery = DeliveryId::new(Timestamp::EPOCH, 1);
        let taken = in_hand.take(delivery);
        assert!(taken.is_some());
        assert!(in_hand.take(delivery).is_none());
        drop(taken);
        assert!(in_hand.take(delivery).is_some());
    }
}
