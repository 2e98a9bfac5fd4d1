//! Dialects whose HMAC key is the whole secret as text, and whose receivers compare one signature.

use secrecy::ExposeSecret as _;

use crate::Delivered;
use crate::hmac_sha256::{code, hex, same};
use crate::request::{Received, RenderError, VerifyError};

/// The secret that signs: a rotated one signs alone until its time is over, because receivers
/// compare the header whole.
pub(crate) fn signing<'a>(delivered: &Delivered<'a>) -> Result<&'a str, RenderError> {
    let secrets = delivered.endpoint.signing_secrets(delivered.now);
    let oldest = secrets.last().ok_or(RenderError::NoSecret)?;
    Ok(oldest.value.expose_secret())
}

/// Lower-case hexadecimal of the HMAC-SHA256 of the parts, one after another.
pub(crate) fn signature(secret: &str, parts: &[&[u8]]) -> String {
    hex(&code(secret.as_bytes(), parts))
}

/// Checks the one signature in `header` over `parts`.
pub(crate) fn verify(
    received: &Received<'_>,
    header: &'static str,
    prefix: &'static str,
    secret: &str,
    parts: &[&[u8]],
) -> Result<(), VerifyError> {
    let given = received.header(header)?;
    let given = given.strip_prefix(prefix).ok_or(VerifyError::BadHeader {
        header,
        expected: "the dialect's prefix and 64 lower-case hexadecimal digits",
    })?;
    if same(&signature(secret, parts), given) {
        Ok(())
    } else {
        Err(VerifyError::SignatureMismatch)
    }
}

/// The length of a secret, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 8..=256;

/// Takes any text that a receiver may hold already, spaces within it too.
pub(crate) fn check(secret: &str) -> Result<(), &'static str> {
    let printable = !secret.chars().any(char::is_control) && secret.trim() == secret;
    if printable && SECRET_BYTES.contains(&secret.len()) {
        Ok(())
    } else {
        Err("must be 8 to 256 bytes of printable text, without spaces around it")
    }
}

/// Bytes of a secret that another system made.
const GIVEN_BYTES: std::ops::RangeInclusive<usize> = 1..=256;

/// Whether requests can be verified with a secret that another system made by its own rules.
pub(crate) fn check_given(secret: &str) -> Result<(), &'static str> {
    if GIVEN_BYTES.contains(&secret.len()) && !secret.chars().any(char::is_control) {
        Ok(())
    } else {
        Err("must be 1 to 256 bytes without control characters")
    }
}
