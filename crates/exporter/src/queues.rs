use broker::{Queue, QueueLook};
use prometheus::IntGaugeVec;
use prometheus::core::Collector;

use crate::{Exporter, NONE, NotSeen, signed};

impl Exporter {
    pub(crate) async fn look_at_queues(&self) -> Result<(), NotSeen> {
        let looks = self.parts.broker.look().await?;
        let seen = &self.seen;
        forget_others(&seen.queue_ready, &looks);
        forget_others(&seen.queue_consumers, &looks);
        let mut scheduled = 0;
        for look in looks {
            let ready = signed(look.depth.ready);
            seen.queue_ready.with_label_values(&[&look.name]).set(ready);
            if look.delays {
                scheduled += ready;
            } else {
                seen.queue_consumers
                    .with_label_values(&[&look.name])
                    .set(signed(look.depth.consumers));
            }
            if look.name == Queue::Rejected.as_str() {
                seen.events_rejected.with_label_values(NONE).set(ready);
            } else if look.name == Queue::Parked.as_str() {
                seen.messages_parked.with_label_values(NONE).set(ready);
            }
        }
        seen.retries_scheduled
            .with_label_values(NONE)
            .set(scheduled);
        Ok(())
    }
}

/// A queue that is gone has no depth.
fn forget_others(gauges: &IntGaugeVec, looks: &[QueueLook]) {
    for family in gauges.collect() {
        for metric in family.get_metric() {
            let name = metric.get_label()[0].value();
            if !looks.iter().any(|look| look.name == name) {
                let _it_was_shown = gauges.remove_label_values(&[name]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use broker::QueueDepth;
    use prometheus::Opts;

    use super::*;

    #[test]
    fn a_queue_that_is_gone_is_forgotten_and_the_others_stay() {
        let gauges = IntGaugeVec::new(Opts::new("n", "n"), &["queue"]).unwrap();
        for name in ["one", "other"] {
            gauges.with_label_values(&[name]).set(7);
        }
        let look = QueueLook {
            name: "other".to_owned(),
            delays: false,
            depth: QueueDepth::default(),
        };
        forget_others(&gauges, &[look]);
        let left = &gauges.collect()[0];
        let [metric] = left.get_metric() else {
            panic!("{left:?}")
        };
        assert_eq!(metric.get_label()[0].value(), "other");
        assert_eq!(metric.get_gauge().get_value(), 7.0);
    }
}
