use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::from_hex;

/// The name of the header, over HTTP and AMQP.
pub const TRACE_PARENT_HEADER: &str = "traceparent";

/// Bytes of a header of version 00; later versions are at least as long.
const BYTES: usize = 55;
const SAMPLED: u8 = 1;

/// A place in a trace: what follows from it is told so. W3C Trace Context, section 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// Not all zeros.
    pub trace_id: [u8; 16],
    /// Not all zeros.
    pub span_id: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
}

/// A header that is no [`TraceParent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent as in W3C Trace Context")]
pub struct TraceParentError;

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let bytes = text.as_bytes();
        let ends = match bytes.get(BYTES) {
            None => bytes.len() == BYTES,
            Some(next) => *next == b'-' && !text.starts_with("00"),
        };
        if !ends || [2, 35, 52].iter().any(|&dash| bytes[dash] != b'-') {
            return Err(TraceParentError);
        }
        let [version] = from_hex(&bytes[..2]).ok_or(TraceParentError)?;
        let [flags] = from_hex(&bytes[53..BYTES]).ok_or(TraceParentError)?;
        let parent = Self {
            trace_id: from_hex(&bytes[3..35]).ok_or(TraceParentError)?,
            span_id: from_hex(&bytes[36..52]).ok_or(TraceParentError)?,
            sampled: flags & SAMPLED != 0,
        };
        if version == 0xff || parent.trace_id == [0; 16] || parent.span_id == [0; 8] {
            return Err(TraceParentError);
        }
        Ok(parent)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace_id = u128::from_be_bytes(self.trace_id);
        let span_id = u64::from_be_bytes(self.span_id);
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(text: &str) -> Option<TraceParent> {
        text.parse().ok()
    }

    #[test]
    fn a_header_is_read_and_written_as_it_was() {
        let parent = read(HEADER).unwrap();
        assert_eq!(parent.span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), HEADER);
        let json = serde_json::to_string(&parent).unwrap();
        assert_eq!(serde_json::from_str::<TraceParent>(&json).unwrap(), parent);
        let unsampled = HEADER.replace("-01", "-00");
        assert_eq!(read(&unsampled).unwrap().to_string(), unsampled);
    }

    #[test]
    fn what_later_versions_add_is_left_out() {
        let later = HEADER.replacen("00", "cc", 1);
        assert_eq!(read(&later), read(HEADER));
        assert_eq!(read(&format!("{later}-what-is-new")), read(HEADER));
        assert_eq!(read(&format!("{later}.")), None);
        assert_eq!(read(&HEADER.replace("-01", "-ff")), read(HEADER));
    }

    #[test]
    fn anything_else_is_no_header() {
        for wrong in [
            "",
            "é",
            &HEADER[..54],
            &format!("{HEADER}-00"),
            &HEADER.to_uppercase(),
            &HEADER.replacen("00", "ff", 1),
            &HEADER.replace('-', "_"),
            &HEADER.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &HEADER.replace("b7ad6b7169203331", &"0".repeat(16)),
            &HEADER.replace("b7ad6b7169203331", "b7ad6b716920333é"),
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
