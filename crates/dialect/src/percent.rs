//! Percent-encoding of CloudEvents header values (HTTP protocol binding, section 3.1.3.2).

use std::borrow::Cow;

pub(crate) use model::percent_decode as decode;

/// Encodes space, `"`, `%` and everything that is not visible ASCII.
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%');
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            write!(encoded, "%{byte:02X}").expect("writing to a string works");
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_visible_ascii_is_encoded_and_decoded() {
        for (text, encoded) in [
            ("lic_7f3a", "lic_7f3a"),
            ("Zoë \"pro\" 100%", "Zo%C3%AB%20%22pro%22%20100%25"),
            ("", ""),
        ] {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded), text);
        }
        assert_eq!(decode("100% %zz %"), "100% %zz %");
        assert_eq!(decode("%FF"), "%FF");
    }
}
