/// The 128 bits of an id, written as a UUID (RFC 9562, section 4). An id begins with its time as
/// version 7 does, so that is what it becomes, unless its bits are some version's already.
pub(crate) fn guid(id: u128) -> String {
    let is_uuid = matches!(id >> VERSION & 0xf, 1..=8) && id >> VARIANT & 0b11 == 0b10;
    hyphenated(if is_uuid { id } else { versioned(id, 7) })
}

/// A UUID of one's own making (version 8).
pub(crate) fn guid_of(digest: &[u8]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    hyphenated(versioned(u128::from_be_bytes(bytes), 8))
}

/// How far from the end the version and the variant stand, in bits.
const VERSION: u32 = 76;
const VARIANT: u32 = 62;

const fn versioned(bits: u128, version: u128) -> u128 {
    let rest = bits & !(0xf << VERSION | 0b11 << VARIANT);
    rest | version << VERSION | 0b10 << VARIANT
}

fn hyphenated(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
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

    #[test]
    fn an_id_has_a_version_and_a_variant_and_keeps_its_time() {
        for (id, expected) in [
            (0, "00000000-0000-7000-8000-000000000000"),
            (u128::MAX, "ffffffff-ffff-7fff-bfff-ffffffffffff"),
            (
                0x019d_8a52_4a80_0001_0000_0000_0000_0002,
                "019d8a52-4a80-7001-8000-000000000002",
            ),
            // A version, but no variant.
            (
                0x019d_8a52_4a80_4001_4000_0000_0000_0002,
                "019d8a52-4a80-7001-8000-000000000002",
            ),
        ] {
            assert_eq!(guid(id), expected);
        }
    }
}
