//! The rows of the table. Each runs on an installation of its own, so that none inherits another's
//! backlog, retries or memory.

mod isolation;
mod latency;
mod memory;
mod site;
mod throughput;

pub(crate) use site::Stage;

use crate::floors::FAN;
use crate::installation::Mode;
use crate::report::{Row, Target};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RowName {
    /// One endpoint, ingest and delivery together.
    One,
    /// Ten endpoints per event.
    Ten,
    /// A backlog of 20,000.
    Drain,
    /// Publish to receipt at 50/s.
    Latency50,
    /// Publish to receipt at 500/s.
    Latency500,
    /// Peak memory with 20,000 waiting.
    Memory,
    /// A fast endpoint beside one that hangs.
    Hanging,
    /// 500 endpoints of which 250 are dead.
    Dead,
}

impl RowName {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Ten => "ten",
            Self::Drain => "drain",
            Self::Latency50 => "latency50",
            Self::Latency500 => "latency500",
            Self::Memory => "memory",
            Self::Hanging => "hanging",
            Self::Dead => "dead",
        }
    }

    pub(crate) fn measure(self, stage: &Stage<'_>) -> anyhow::Result<Row> {
        let per_mode = |services, embedded| match stage.mode {
            Mode::Services => services,
            Mode::Embedded => embedded,
        };
        let at_least = |services, embedded| Target::AtLeast(per_mode(services, embedded));
        let at_most = |services, embedded| Target::AtMost(per_mode(services, embedded));
        match self {
            Self::One => {
                let cpu = at_most(0.12, 0.15);
                throughput::together(stage, 1, at_least(8_000.0, 10_000.0), Some(cpu))
            }
            Self::Ten => throughput::together(stage, FAN, at_least(14_000.0, 15_000.0), None),
            Self::Drain => throughput::drain(stage, at_least(12_000.0, 12_000.0)),
            Self::Latency50 => {
                let targets = [Some(at_most(2.5, 1.5)), Some(at_most(4.5, 3.0))];
                latency::publish_to_receipt(stage, 50, targets)
            }
            Self::Latency500 => {
                latency::publish_to_receipt(stage, 500, [None, Some(at_most(8.0, 6.0))])
            }
            Self::Memory => memory::waiting(stage, at_most(120.0, 100.0)),
            Self::Hanging => isolation::beside_hanging(stage),
            Self::Dead => isolation::among_dead(stage),
        }
    }
}
