//! Writes the JSON that receivers read back to the same bytes: compact, UTF-8, escaped only where
//! it has to be. `JSON.stringify(JSON.parse(body))` gives the body again, unless `data` holds what
//! JavaScript cannot: integers beyond 2^53, which keep all their digits here, numbers beyond its
//! largest, and members named by an index, which it puts first.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// Appends a string, quoted.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string always serializes into memory");
}

/// Appends a value without the whitespace between its tokens, with strings escaped only where they
/// have to be and with numbers as JavaScript spells them.
pub(crate) fn value(out: &mut Vec<u8>, raw: &RawValue) {
    let text = raw.get();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'"' => {
                let end = string_end(bytes, at);
                let token = &text[at..end];
                match serde_json::from_str::<String>(token) {
                    Ok(unescaped) if token.contains('\\') => string(out, &unescaped),
                    Ok(_) | Err(_) => out.extend_from_slice(token.as_bytes()),
                }
                at = end;
            }
            b'-' | b'0'..=b'9' => {
                let end = number_end(bytes, at);
                out.extend_from_slice(number(&text[at..end]).as_bytes());
                at = end;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = bytes[start..]
        .iter()
        .take_while(|byte| is_part(byte))
        .count();
    start + length
}

/// A number as `Number::toString` has it (ECMA-262). Integers stay as they are.
fn number(token: &str) -> Cow<'_, str> {
    let is_integer = !token.contains(['.', 'e', 'E']) && token != "-0";
    match token.parse::<f64>() {
        Ok(value) if !is_integer && value.is_finite() => spelled(value).into(),
        Ok(_) | Err(_) => token.into(),
    }
}

/// Rust's shortest digits are JavaScript's; where the exponent is shown differs.
fn spelled(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if (1e-6..1e21).contains(&value.abs()) {
        value.to_string()
    } else {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        }
    }
}

/// Appends a member to an object that was written before.
pub(crate) fn insert(object: &mut Vec<u8>, name: &str, value: &[u8]) {
    assert_eq!(object.pop(), Some(b'}'), "an object ends with a brace");
    if object.last() != Some(&b'{') {
        object.push(b',');
    }
    string(object, name);
    object.push(b':');
    object.extend_from_slice(value);
    object.push(b'}');
}

/// The index behind the string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Builds an object, member by member.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Appends a member's name; its value is to be appended to what this returns.
    pub(crate) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        string(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        string(self.member(name), text);
    }

    pub(crate) fn value(&mut self, name: &str, raw: &RawValue) {
        value(self.member(name), raw);
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, compact: &str) {
        let raw: Box<RawValue> = serde_json::from_str(raw).unwrap();
        let mut out = Vec::new();
        value(&mut out, &raw);
        assert_eq!(String::from_utf8(out).unwrap(), compact);
    }

    #[test]
    fn whitespace_between_tokens_goes_and_within_strings_stays() {
        check(" { \"a b\" :\n[ 1 , 2.50 ] } ", r#"{"a b":[1,2.5]}"#);
        check(r#"" \" } ""#, r#"" \" } ""#);
        check(r#""\\""#, r#""\\""#);
    }

    #[test]
    fn numbers_are_spelled_as_javascript_does() {
        for (given, spelled) in [
            ("[1.0,-2.50,0.0,100]", "[1,-2.5,0,100]"),
            ("[1e5,1.50e2,1.0E2,-1e+2]", "[100000,150,100,-100]"),
            ("[-0,-0.0,0e9,1e-400]", "[0,0,0,0]"),
            (
                "[1e20,1e21,1.5e300]",
                "[100000000000000000000,1e+21,1.5e+300]",
            ),
            ("[0.000001,1e-7,-1.20e-10]", "[0.000001,1e-7,-1.2e-10]"),
            ("[0.1000000000000000055,5e-324]", "[0.1,5e-324]"),
        ] {
            check(given, spelled);
        }
    }

    #[test]
    fn numbers_that_javascript_cannot_hold_stay_as_they_are() {
        let numbers = "[9007199254740993,-123456789012345678901234567890,1e400]";
        check(numbers, numbers);
    }

    #[test]
    fn a_member_is_added_to_an_object() {
        for (object, with) in [("{}", r#"{"a":1}"#), (r#"{"b":2}"#, r#"{"b":2,"a":1}"#)] {
            let mut object = object.as_bytes().to_vec();
            insert(&mut object, "a", b"1");
            assert_eq!(object, with.as_bytes());
        }
    }

    #[test]
    fn escapes_that_need_not_be_are_resolved() {
        check(
            r#""zo\u00eb \/ \u2028 \ud83d\ude00""#,
            "\"zoë / \u{2028} 😀\"",
        );
        check(r#""<>& \u0001 \b""#, r#""<>& \u0001 \b""#);
    }
}
