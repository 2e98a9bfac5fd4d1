use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use dialect::Verified;
use model::Timestamp;
use serde::{Serialize, Serializer};

/// Arrivals kept to be shown.
pub const ARRIVALS_KEPT_MAX: usize = 200;
/// Ids remembered to tell duplicates.
pub const IDS_KEPT_MAX: usize = 10_000;
/// Bytes of a body kept to be shown.
pub const BODY_SHOWN_BYTES_MAX: usize = 64 * 1024;

/// One delivery as it arrived, and how it was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Arrival {
    /// Counts from 1.
    pub number: u64,
    pub received_at: Timestamp,
    pub path: String,
    pub verified: bool,
    /// Why it does not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The dialect's key for duplicates; known once verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Its id has been answered with success before.
    pub duplicate: bool,
    /// The status it was answered with.
    pub answered: u16,
    /// At most [`BODY_SHOWN_BYTES_MAX`].
    #[serde(serialize_with = "json_or_text")]
    pub body: String,
}

/// JSON is shown as JSON, anything else as a text.
fn json_or_text<S: Serializer>(body: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_str::<&serde_json::value::RawValue>(body) {
        Ok(json) => json.serialize(serializer),
        Err(_) => serializer.serialize_str(body),
    }
}

/// One line for a terminal.
impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.received_at.rfc3339(3);
        let time = time.split_once('T').map_or(time.as_str(), |(_, time)| time);
        let mark = if self.verified { '✓' } else { '✗' };
        write!(f, "{time} {mark} {}", self.answered)?;
        // Whoever signed them may have put control sequences into these.
        for text in [&self.event_type, &self.id, &self.problem]
            .into_iter()
            .flatten()
        {
            write!(f, " {}", text.escape_debug())?;
        }
        if self.duplicate {
            f.write_str(" (duplicate)")
        } else {
            Ok(())
        }
    }
}

/// What has arrived, newest first, within bounds.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    count: u64,
    kept: VecDeque<Arc<Arrival>>,
    done: HashSet<String>,
    done_in_order: VecDeque<String>,
}

/// What is known of a request before it is answered.
pub(crate) struct Request<'a> {
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) received_at: Timestamp,
}

impl Arrivals {
    /// Records a request and its answer, and remembers the id if it was a success.
    pub(crate) fn record(
        &mut self,
        request: &Request<'_>,
        verdict: Result<Verified, String>,
        answered: u16,
    ) -> Arc<Arrival> {
        self.count += 1;
        let shown = &request.body[..request.body.len().min(BODY_SHOWN_BYTES_MAX)];
        let (verified, problem) = match verdict {
            Ok(verified) => (Some(verified), None),
            Err(problem) => (None, Some(problem)),
        };
        let id = verified.as_ref().map(|verified| verified.id.clone());
        let duplicate = id.as_ref().is_some_and(|id| self.done.contains(id));
        if let Some(id) = &id
            && (200..300).contains(&answered)
            && !duplicate
        {
            self.remember(id);
        }
        let arrival = Arc::new(Arrival {
            number: self.count,
            received_at: request.received_at,
            path: request
                .target
                .split('?')
                .next()
                .unwrap_or_default()
                .to_owned(),
            verified: verified.is_some(),
            problem,
            id,
            event_type: verified.map(|verified| verified.event_type),
            duplicate,
            answered,
            body: String::from_utf8_lossy(shown).into_owned(),
        });
        self.kept.push_front(Arc::clone(&arrival));
        self.kept.truncate(ARRIVALS_KEPT_MAX);
        arrival
    }

    fn remember(&mut self, id: &str) {
        if self.done_in_order.len() == IDS_KEPT_MAX
            && let Some(oldest) = self.done_in_order.pop_front()
        {
            self.done.remove(&oldest);
        }
        self.done.insert(id.to_owned());
        self.done_in_order.push_back(id.to_owned());
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Newest first.
    pub(crate) fn newest(&self) -> Vec<Arc<Arrival>> {
        self.kept.iter().map(Arc::clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(arrivals: &mut Arrivals, id: &str, answered: u16) -> Arc<Arrival> {
        let request = Request {
            target: "/",
            body: b"{}",
            received_at: Timestamp::EPOCH,
        };
        let verified = Verified {
            id: id.to_owned(),
            event_type: "license.created".to_owned(),
        };
        arrivals.record(&request, Ok(verified), answered)
    }

    #[test]
    fn an_id_is_a_duplicate_only_after_a_success() {
        let mut arrivals = Arrivals::default();
        assert!(!arrive(&mut arrivals, "a", 503).duplicate);
        assert!(!arrive(&mut arrivals, "a", 204).duplicate);
        assert!(arrive(&mut arrivals, "a", 204).duplicate);
        assert_eq!(arrivals.count(), 3);
    }

    #[test]
    fn arrivals_and_ids_are_kept_up_to_their_limits() {
        let mut arrivals = Arrivals::default();
        for n in 0..=IDS_KEPT_MAX {
            arrive(&mut arrivals, &n.to_string(), 204);
        }
        assert_eq!(arrivals.newest().len(), ARRIVALS_KEPT_MAX);
        assert_eq!(arrivals.newest()[0].id.as_deref(), Some("10000"));
        assert_eq!(arrivals.done.len(), IDS_KEPT_MAX);
        assert!(
            !arrive(&mut arrivals, "0", 503).duplicate,
            "the oldest id is forgotten"
        );
        assert!(arrive(&mut arrivals, "1", 503).duplicate);
    }

    #[test]
    fn bodies_are_cut_for_showing_and_lines_carry_no_control_characters() {
        let mut arrivals = Arrivals::default();
        let body = vec![b'x'; BODY_SHOWN_BYTES_MAX + 1];
        let request = Request {
            target: "/",
            body: &body,
            received_at: Timestamp::EPOCH,
        };
        let arrival = arrivals.record(&request, Err("the header x is missing".to_owned()), 401);
        assert_eq!(arrival.body.len(), BODY_SHOWN_BYTES_MAX);
        assert_eq!(
            arrival.to_string(),
            "00:00:00.000Z ✗ 401 the header x is missing"
        );
        let line = arrive(&mut arrivals, "\u{1b}[2J", 204).to_string();
        assert_eq!(line, "00:00:00.000Z ✓ 204 license.created \\u{1b}[2J");
    }
}
