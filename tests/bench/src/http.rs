//! The little of HTTP/1.1 that generator and receiver need, without allocations: heads with a
//! `content-length`, bodies of that length, connections kept alive.

/// The head of a request or a response that is complete in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the first line, without its end.
    pub first_line_bytes: usize,
    /// Bytes of the head, with the empty line.
    pub head_bytes: usize,
    pub body_bytes: usize,
}

impl Head {
    pub(crate) const fn message_bytes(self) -> usize {
        self.head_bytes + self.body_bytes
    }
}

/// Why a head cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A `content-length` that is no number.
    Length,
    /// A body without a length in advance: not needed here, so not understood.
    TransferEncoding,
    TooLarge,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Length => "malformed content-length",
            Self::TransferEncoding => "transfer-encoding instead of content-length",
            Self::TooLarge => "head larger than 16 KiB",
        })
    }
}

/// Heads beyond this are refused.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Reads the head at the start of `buffer`; `None` while it is incomplete.
pub(crate) fn head(buffer: &[u8]) -> Result<Option<Head>, Malformed> {
    let mut at = 0;
    let mut first_line_bytes = None;
    let mut body_bytes = 0;
    while let Some(length) = buffer[at..].iter().position(|byte| *byte == b'\n') {
        let line = &buffer[at..at + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += length + 1;
        match first_line_bytes {
            None => first_line_bytes = Some(line.len()),
            Some(first_line_bytes) if line.is_empty() => {
                return Ok(Some(Head {
                    first_line_bytes,
                    head_bytes: at,
                    body_bytes,
                }));
            }
            Some(_) => {
                if let Some(value) = header(line, b"content-length") {
                    body_bytes = std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.trim().parse().ok())
                        .ok_or(Malformed::Length)?;
                } else if header(line, b"transfer-encoding").is_some() {
                    return Err(Malformed::TransferEncoding);
                }
            }
        }
    }
    if buffer.len() > HEAD_BYTES_MAX {
        Err(Malformed::TooLarge)
    } else {
        Ok(None)
    }
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    found
        .eq_ignore_ascii_case(name)
        .then(|| rest.strip_prefix(b":"))?
}

/// The status code of a response's first line.
pub(crate) fn status(first_line: &[u8]) -> Option<u16> {
    std::str::from_utf8(first_line.get(9..12)?)
        .ok()?
        .parse()
        .ok()
}

/// The path of a request's first line.
pub(crate) fn path(first_line: &[u8]) -> Option<&[u8]> {
    first_line.split(|byte| *byte == b' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_only_when_it_is_complete() {
        let message = b"POST /ok/3 HTTP/1.1\r\nhost: a\r\nContent-Length: 12\r\n\r\nhello, world";
        for cut in 0..message.len() - 12 {
            assert_eq!(head(&message[..cut]), Ok(None), "{cut}");
        }
        let found = head(message).unwrap().unwrap();
        assert_eq!(found.message_bytes(), message.len());
        assert_eq!(
            path(&message[..found.first_line_bytes]),
            Some(&b"/ok/3"[..])
        );
    }

    #[test]
    fn a_body_without_a_length_in_advance_is_refused() {
        let chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(head(chunked), Err(Malformed::TransferEncoding));
        let wrong = b"POST / HTTP/1.1\r\ncontent-length: ten\r\n\r\n";
        assert_eq!(head(wrong), Err(Malformed::Length));
    }

    #[test]
    fn heads_are_bounded() {
        let at_the_bound = vec![b'a'; HEAD_BYTES_MAX];
        assert_eq!(head(&at_the_bound), Ok(None));
        let beyond = vec![b'a'; HEAD_BYTES_MAX + 1];
        assert_eq!(head(&beyond), Err(Malformed::TooLarge));
    }

    #[test]
    fn statuses_are_read() {
        assert_eq!(status(b"HTTP/1.1 202 Accepted"), Some(202));
        assert_eq!(status(b"HTTP/1.1"), None);
    }
}
