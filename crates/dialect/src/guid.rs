/// The 128 bits of an id, written as a UUID (RFC 9562, section 4).
pub(crate) fn guid(id: u128) -> String {
    let hex = format!("{id:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

/// A UUID of one's own making (version 8).
pub(crate) fn guid_of(digest: &[u8]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    guid(u128::from_be_bytes(bytes))
}

pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_digests_make_uuids() {
        let value = 0xdfd6_6777_8a60_411c_b61c_ad51_c671_c0bd;
        assert_eq!(guid(value), "dfd66777-8a60-411c-b61c-ad51c671c0bd");
        let made = guid_of(&[0xff; 32]);
        assert_eq!(made, "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert!(is_guid(&made));
        for other in [
            "",
            "FFFFFFFF-ffff-8fff-bfff-ffffffffffff",
            "f".repeat(36).as_str(),
        ] {
            assert!(!is_guid(other), "{other}");
        }
    }
}
