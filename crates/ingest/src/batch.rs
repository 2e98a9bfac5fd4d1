//! Reading a batch: a JSON array, a CloudEvents batch, or one event a line.

use bytes::Bytes;
use model::{FieldError, Submission, SubmissionError};
use serde_json::value::RawValue;

/// Events in one batch at most.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Bytes of one batch at most.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The form of a batch, from its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchForm {
    /// A JSON array, or NDJSON: the first byte tells.
    Canonical,
    CloudEvents,
}

/// A batch that is refused whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    #[error("a batch has at most {BATCH_EVENTS_MAX} events; this one has {0}")]
    TooMany(usize),
    #[error("{}", .0.detail)]
    Malformed(FieldError),
}

/// Splits a batch and reads each event; a bad one does not spoil the others.
pub(crate) fn read_batch(
    body: &Bytes,
    form: BatchForm,
    known: impl Fn(&str) -> bool,
) -> Result<Vec<Result<Submission, SubmissionError>>, BatchError> {
    let events = split(body)?;
    if events.len() > BATCH_EVENTS_MAX {
        return Err(BatchError::TooMany(events.len()));
    }
    Ok(events
        .into_iter()
        .map(|event| match form {
            BatchForm::Canonical => Submission::parse(event),
            BatchForm::CloudEvents => Submission::from_cloud_event(event, &known),
        })
        .collect())
}

fn split(body: &[u8]) -> Result<Vec<&[u8]>, BatchError> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
            BatchError::Malformed(FieldError::new("", format!("not a JSON array: {error}")))
        })?;
        return Ok(events
            .into_iter()
            .map(|event| event.get().as_bytes())
            .collect());
    }
    let lines: Vec<_> = body
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        let detail = "send a JSON array of events, or one event a line";
        return Err(BatchError::Malformed(FieldError::new("", detail)));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<Result<Submission, SubmissionError>>, BatchError> {
        read_batch(
            &Bytes::from(body.to_owned()),
            BatchForm::Canonical,
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
        let batch = |events: usize| format!("[{}]", vec![EVENT; events].join(","));
        assert_eq!(read(&batch(BATCH_EVENTS_MAX)).unwrap().len(), 1_000);
        assert!(matches!(
            read(&batch(BATCH_EVENTS_MAX + 1)),
            Err(BatchError::TooMany(1_001))
        ));
    }

    #[test]
    fn an_empty_array_is_an_empty_batch_and_no_body_is_an_error() {
        assert_eq!(read("[]").unwrap().len(), 0);
        assert!(matches!(read(""), Err(BatchError::Malformed(_))));
        assert!(matches!(read("[{]"), Err(BatchError::Malformed(_))));
    }
}
