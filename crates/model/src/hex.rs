/// Reads exactly `N` bytes of hexadecimal digits, in lower case: where only one spelling counts.
pub fn from_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_so_many_digits_in_lower_case_are_read() {
        assert_eq!(from_hex(b"0af9"), Some([0x0a, 0xf9]));
        for other in ["0AF9", "0af", "0af90", "0ag9", ""] {
            assert_eq!(from_hex::<2>(other.as_bytes()), None, "{other}");
        }
    }
}
