//! Reading a batch: a JSON array, a CloudEvents batch, or one event a line.

use std::fmt;

use bytes::Bytes;
use model::{EventForm, EventLimits, FieldError, Submission, SubmissionError};
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Events in one batch at most.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Bytes of one batch at most.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A batch that is refused whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    #[error("a batch has at most {BATCH_EVENTS_MAX} events; this one has more")]
    TooMany,
    #[error("{}", .0.detail)]
    Malformed(FieldError),
}

/// Splits a batch and reads each event; a bad one does not spoil the others.
pub(crate) fn read_batch(
    body: &Bytes,
    form: EventForm,
    known: impl Fn(&str) -> bool,
) -> Result<Vec<Result<Submission, SubmissionError>>, BatchError> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let events = match first {
        Some(b'[') => elements(body)?,
        _ => lines(body)?,
    };
    let limits = EventLimits::SUBMITTED;
    Ok(events
        .into_iter()
        .map(|event| Submission::read(form, event, limits, &known))
        .collect())
}

/// The events of an array. What follows the first one too many is not looked at.
fn elements(body: &[u8]) -> Result<Vec<&[u8]>, BatchError> {
    let mut events = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = Elements(&mut events).deserialize(&mut deserializer);
    let read = read.and_then(|()| deserializer.end());
    if events.len() > BATCH_EVENTS_MAX {
        return Err(BatchError::TooMany);
    }
    match read {
        Ok(()) => Ok(events),
        Err(error) => {
            let detail = format!("not a JSON array: {error}");
            Err(BatchError::Malformed(FieldError::new("", detail)))
        }
    }
}

struct Elements<'v, 'de>(&'v mut Vec<&'de [u8]>);

impl<'de> DeserializeSeed<'de> for Elements<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(event) = seq.next_element::<&RawValue>()? {
            self.0.push(event.get().as_bytes());
            if self.0.len() > BATCH_EVENTS_MAX {
                return Err(A::Error::custom("too many"));
            }
        }
        Ok(())
    }
}

fn lines(body: &[u8]) -> Result<Vec<&[u8]>, BatchError> {
    let lines: Vec<_> = body
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .take(BATCH_EVENTS_MAX + 1)
        .collect();
    match lines.len() {
        0 => {
            let detail = "send a JSON array of events, or one event a line";
            Err(BatchError::Malformed(FieldError::new("", detail)))
        }
        1..=BATCH_EVENTS_MAX => Ok(lines),
        _ => Err(BatchError::TooMany),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<Result<Submission, SubmissionError>>, BatchError> {
        read_batch(
            &Bytes::from(body.to_owned()),
            EventForm::Canonical,
            model::is_catalogued,
        )
    }

    const EVENT: &str = r#"{"type":"license.created","data":{}}"#;

    #[test]
    fn arrays_and_lines_read_alike_and_a_bad_event_spoils_no_other() {
        for body in [
            format!("[{EVENT},{{}},{EVENT}]"),
            format!("{EVENT}\n{{}}\r\n\n{EVENT}\n"),
        ] {
            let events = read(&body).unwrap();
            let good: Vec<_> = events.iter().map(Result::is_ok).collect();
            assert_eq!(good, [true, false, true], "{body}");
        }
    }

    #[test]
    fn batches_are_bounded_at_1000_events() {
        let array = |events: usize| format!("[{}]", vec![EVENT; events].join(","));
        let lines = |events: usize| vec![EVENT; events].join("\n");
        for batch in [&array as &dyn Fn(usize) -> String, &lines] {
            assert_eq!(read(&batch(BATCH_EVENTS_MAX)).unwrap().len(), 1_000);
            let error = read(&batch(BATCH_EVENTS_MAX + 1)).unwrap_err();
            assert!(matches!(error, BatchError::TooMany), "{error}");
        }
    }

    #[test]
    fn what_follows_the_event_too_many_is_not_looked_at() {
        let body = format!("[{}]", "0,".repeat(BATCH_EVENTS_MAX + 1) + "{broken");
        assert!(matches!(read(&body), Err(BatchError::TooMany)));
    }

    #[test]
    fn an_empty_array_is_an_empty_batch_and_no_body_is_an_error() {
        assert_eq!(read("[]").unwrap().len(), 0);
        assert!(matches!(read(""), Err(BatchError::Malformed(_))));
        assert!(matches!(read("[{]"), Err(BatchError::Malformed(_))));
    }
}
