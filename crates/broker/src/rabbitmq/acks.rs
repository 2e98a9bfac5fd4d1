use std::collections::BTreeMap;

/// Flushes that a message settled out of turn waits through, so that its turn can come.
const FLUSHES_WAITED: u8 = 4;

/// An acknowledgement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckFrame {
    /// This message and all before it.
    UpTo(u64),
    /// This message alone.
    One(u64),
}

/// Turns settled messages of one channel into as few acknowledgements as possible: one for
/// everything up to the first message still worked on, and single ones for what is settled beyond
/// it and has waited for its turn.
///
/// It never acknowledges a message that is not settled, and none twice: RabbitMQ closes the
/// channel for either.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// Everything up to here is settled and acknowledged.
    done_to: u64,
    /// Settled beyond, by tag.
    beyond: BTreeMap<u64, Settled>,
    unsent: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// It has seen so many flushes.
    Waiting(u8),
    /// Acknowledged by itself.
    Sent,
}

impl Acks {
    /// A message is done with. Tags count from 1.
    pub(super) fn settle(&mut self, tag: u64) {
        if tag > self.done_to && self.beyond.insert(tag, Settled::Waiting(0)).is_none() {
            self.unsent += 1;
        }
    }

    /// Whether anything settled is not acknowledged.
    pub(super) fn is_pending(&self) -> bool {
        self.unsent > 0
    }

    /// Whether every message up to `tag` is settled and acknowledged.
    pub(super) fn is_done(&self, tag: u64) -> bool {
        self.done_to >= tag
    }

    /// What to send now.
    pub(super) fn flush(&mut self) -> Vec<AckFrame> {
        let mut frames = Vec::new();
        let mut up_to = None;
        while let Some(entry) = self.beyond.first_entry()
            && *entry.key() == self.done_to + 1
        {
            self.done_to += 1;
            if entry.remove() != Settled::Sent {
                up_to = Some(self.done_to);
                self.unsent -= 1;
            }
        }
        frames.extend(up_to.map(AckFrame::UpTo));
        if self.unsent == 0 {
            return frames;
        }
        for (tag, settled) in &mut self.beyond {
            match settled {
                Settled::Waiting(seen) if *seen < FLUSHES_WAITED => *seen += 1,
                Settled::Waiting(_) => {
                    *settled = Settled::Sent;
                    self.unsent -= 1;
                    frames.push(AckFrame::One(*tag));
                }
                Settled::Sent => {}
            }
        }
        frames
    }

    /// What to send so that nothing settled is left.
    pub(super) fn flush_all(&mut self) -> Vec<AckFrame> {
        let mut frames = Vec::new();
        while self.is_pending() {
            frames.extend(self.flush());
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_settled_in_order_is_one_frame() {
        let mut acks = Acks::default();
        (1..=50).for_each(|tag| acks.settle(tag));
        assert_eq!(acks.flush(), [AckFrame::UpTo(50)]);
        assert!(!acks.is_pending());
    }

    #[test]
    fn a_slow_message_does_not_keep_the_others() {
        let mut acks = Acks::default();
        [1, 3, 4].into_iter().for_each(|tag| acks.settle(tag));
        assert_eq!(acks.flush(), [AckFrame::UpTo(1)]);
        for _ in 1..FLUSHES_WAITED {
            assert_eq!(acks.flush(), []);
        }
        assert_eq!(acks.flush(), [AckFrame::One(3), AckFrame::One(4)]);
        acks.settle(2);
        assert_eq!(
            acks.flush(),
            [AckFrame::UpTo(2)],
            "4 is acknowledged and cannot be named"
        );
        assert!(!acks.is_pending());
    }

    proptest! {
        #[test]
        fn each_settled_message_is_acknowledged_once_and_no_other(
            order in Just((1_u64..=60).collect::<Vec<_>>()).prop_shuffle(),
            flushes in proptest::collection::vec(any::<bool>(), 60),
            settled_count in 0_usize..=60,
        ) {
            let mut acks = Acks::default();
            let mut settled = BTreeSet::new();
            let mut unacknowledged: BTreeSet<u64> = (1..=60).collect();
            let mut apply = |frames: Vec<AckFrame>, settled: &BTreeSet<u64>| {
                for frame in frames {
                    let (AckFrame::UpTo(named) | AckFrame::One(named)) = frame;
                    assert!(unacknowledged.contains(&named), "{named} again");
                    let covered: Vec<u64> = match frame {
                        AckFrame::UpTo(to) => unacknowledged.range(..=to).copied().collect(),
                        AckFrame::One(tag) => vec![tag],
                    };
                    for tag in covered {
                        assert!(settled.contains(&tag), "{tag} is not settled");
                        unacknowledged.remove(&tag);
                    }
                }
                unacknowledged.len()
            };
            for (tag, flush) in order.into_iter().take(settled_count).zip(flushes) {
                acks.settle(tag);
                settled.insert(tag);
                if flush {
                    apply(acks.flush(), &settled);
                }
            }
            let left = apply(acks.flush_all(), &settled);
            prop_assert_eq!(left, 60 - settled_count);
            prop_assert!(!acks.is_pending());
        }
    }
}
