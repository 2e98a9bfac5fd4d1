//! What a row found, for the table and for programs.

use serde::Serialize;

use crate::floors::Floors;
use crate::installation::Mode;

/// What a figure is measured in, and how many digits it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    PerSecond,
    Milliseconds,
    /// Of CPU, for one delivery.
    MillisecondsCpu,
    /// Millions of bytes.
    Megabytes,
    Times,
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        if !value.is_finite() {
            return "–".to_owned();
        }
        match self {
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Milliseconds => format!("{value:.2} ms"),
            Self::MillisecondsCpu => format!("{value:.3} ms"),
            Self::Megabytes => format!("{value:.0} MB"),
            Self::Times => format!("{value:.2}×"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    pub(crate) fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

/// One number, with what it shall be and what it could be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub name: String,
    pub unit: Unit,
    pub value: f64,
    pub target: Option<Target>,
    pub floor: Option<f64>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            value,
            target: None,
            floor: None,
        }
    }

    pub(crate) const fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    pub(crate) const fn floor(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self
    }

    /// How many times worse than the floor.
    pub(crate) fn above_floor(&self) -> Option<f64> {
        let floor = self
            .floor
            .filter(|floor| floor.is_finite() && self.value.is_finite())?;
        Some(match self.unit {
            Unit::PerSecond => floor / self.value,
            Unit::Milliseconds | Unit::MillisecondsCpu | Unit::Megabytes | Unit::Times => {
                self.value / floor
            }
        })
    }
}

/// CPU that a process and what it started used for one delivery.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Share {
    pub process: String,
    pub us_per_delivery: f64,
    pub is_fanfare: bool,
}

/// One row in one mode.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub mode: Mode,
    pub title: String,
    pub figures: Vec<Figure>,
    pub shares: Vec<Share>,
    /// Deliveries missing or repeated, publications not accepted: each makes the run fail.
    pub faults: Vec<String>,
    pub notes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
}

impl Row {
    pub(crate) fn new(mode: Mode, title: impl Into<String>) -> Self {
        Self {
            mode,
            title: title.into(),
            figures: Vec::new(),
            shares: Vec::new(),
            faults: Vec::new(),
            notes: Vec::new(),
            profiles: Vec::new(),
        }
    }

    /// A row that could not be measured, which is a fault.
    pub(crate) fn failed(mode: Mode, name: &str, error: &anyhow::Error) -> Self {
        let mut row = Self::new(mode, name);
        row.faults.push(format!("{error:#}"));
        row
    }
}

/// Everything a run of the bench found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub machine: Machine,
    /// Shorter than what is worth quoting.
    pub quick: bool,
    pub floors: Vec<Floors>,
    pub rows: Vec<Row>,
}

/// Where it ran.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    pub cores: usize,
    pub processor: String,
    pub kernel: String,
    /// Of the last minute before: above zero, something else was running.
    pub load_before: String,
}

impl Report {
    pub(crate) const fn new(machine: Machine, quick: bool) -> Self {
        Self {
            machine,
            quick,
            floors: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Whether every delivery arrived exactly once.
    pub(crate) fn is_sound(&self) -> bool {
        self.rows.iter().all(|row| row.faults.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_floor_means_worse_whatever_the_unit() {
        let rate = Figure::new("rate", Unit::PerSecond, 5_000.0).floor(10_000.0);
        assert_eq!(rate.above_floor(), Some(2.0));
        let latency = Figure::new("p50", Unit::Milliseconds, 2.0).floor(1.0);
        assert_eq!(latency.above_floor(), Some(2.0));
        assert_eq!(
            Figure::new("p50", Unit::Milliseconds, 2.0).above_floor(),
            None
        );
    }

    #[test]
    fn a_target_is_reached_at_its_bound() {
        assert!(Target::AtLeast(8_000.0).is_reached(8_000.0));
        assert!(!Target::AtLeast(8_000.0).is_reached(7_999.0));
        assert!(Target::AtMost(2.5).is_reached(2.5));
        assert!(!Target::AtMost(2.5).is_reached(f64::NAN));
    }
}
