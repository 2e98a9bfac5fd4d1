use std::collections::BTreeMap;

use dialect::Dialect;
use http::HeaderName;
use model::FieldError;

/// Headers of an endpoint's own at most.
pub const HEADERS_MAX: usize = 20;
/// The longest name, in bytes.
pub const HEADER_NAME_BYTES_MAX: usize = 64;
/// The longest value, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 1_024;

/// Headers that describe the connection or the body: they are the sender's.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const RESERVED_PREFIXES: &[&str] = &["proxy-", "webhook-"];

/// Checks the headers an endpoint wants sent along; every one that cannot be is named.
pub fn check_headers(headers: &BTreeMap<String, String>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if headers.len() > HEADERS_MAX {
        let detail = format!("must be at most {HEADERS_MAX} headers");
        return vec![FieldError::new("/headers", detail)];
    }
    let mut lower_case_names = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let lower_case = name.to_ascii_lowercase();
        let problem = problem_with_name(&lower_case).or_else(|| problem_with_value(value));
        if let Some(detail) = problem {
            errors.push(FieldError::new(pointer(name), detail));
        } else if lower_case_names.contains(&lower_case) {
            errors.push(FieldError::new(
                pointer(name),
                "is there twice: case does not matter",
            ));
        }
        lower_case_names.push(lower_case);
    }
    errors
}

fn pointer(name: &str) -> String {
    format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn problem_with_name(lower_case: &str) -> Option<String> {
    if lower_case.len() > HEADER_NAME_BYTES_MAX {
        return Some(format!(
            "must be at most {HEADER_NAME_BYTES_MAX} bytes long"
        ));
    }
    if HeaderName::try_from(lower_case).is_err() {
        return Some("is not a header name".to_owned());
    }
    let reserved = RESERVED.contains(&lower_case)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| lower_case.starts_with(prefix))
        || Dialect::ALL.iter().any(|dialect| {
            let profile = dialect.profile();
            profile.headers.contains(&lower_case) || profile.optional_headers.contains(&lower_case)
        });
    reserved.then(|| "is set by Fanfare itself".to_owned())
}

fn problem_with_value(value: &str) -> Option<String> {
    if value.len() > HEADER_VALUE_BYTES_MAX {
        return Some(format!(
            "must have a value of at most {HEADER_VALUE_BYTES_MAX} bytes"
        ));
    }
    let visible = value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    (!visible || value != value.trim())
        .then(|| "must have a value of visible ASCII characters".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pointers of the headers that are refused.
    fn refused(headers: &[(&str, &str)]) -> Vec<String> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let headers = headers.iter().map(owned).collect();
        check_headers(&headers)
            .into_iter()
            .map(|error| error.pointer)
            .collect()
    }

    #[test]
    fn ordinary_headers_pass() {
        let headers = [
            ("Authorization", "Bearer a b"),
            ("X-Team", ""),
            ("x_y.z~1", "!#$%&'*+-.^_`|~\""),
        ];
        assert!(refused(&headers).is_empty());
    }

    #[test]
    fn what_is_no_name_or_value_is_named() {
        for name in ["", "a b", "a:b", "zoë", "a\r\nb", "a/b"] {
            let pointer = format!("/headers/{}", name.replace('/', "~1"));
            assert_eq!(refused(&[("x-good", "y"), (name, "y")]), [pointer]);
        }
        for value in [
            "a\nb",
            "a\r\nHost: b",
            "\u{0}",
            "é",
            "\u{7f}",
            "\t",
            " a",
            "a ",
        ] {
            assert_eq!(refused(&[("x", value)]), ["/headers/x"], "{value:?}");
        }
    }

    #[test]
    fn headers_of_the_sender_and_of_any_dialect_are_reserved_in_any_case() {
        let names = [
            "Host",
            "content-length",
            "Content-Type",
            "Transfer-Encoding",
            "connection",
            "TE",
            "Proxy-Authorization",
            "webhook-id",
            "Webhook-Anything",
            "X-KeyPort-Signature",
        ];
        for name in names {
            assert_eq!(refused(&[(name, "y")]), [format!("/headers/{name}")]);
        }
    }

    #[test]
    fn one_name_in_two_cases_is_one_header_twice() {
        assert_eq!(refused(&[("X-A", "1"), ("x-a", "2")]), ["/headers/x-a"]);
    }

    #[test]
    fn count_and_lengths_are_bounded() {
        let many = |count: usize| {
            let headers = (0..count)
                .map(|n| (format!("x-{n}"), "y".to_owned()))
                .collect();
            check_headers(&headers).len()
        };
        assert_eq!((many(HEADERS_MAX), many(HEADERS_MAX + 1)), (0, 1));
        let name = |length| refused(&[(&"x".repeat(length), "y")]).len();
        assert_eq!(
            (name(HEADER_NAME_BYTES_MAX), name(HEADER_NAME_BYTES_MAX + 1)),
            (0, 1)
        );
        let value = |length| refused(&[("x", &"y".repeat(length))]).len();
        assert_eq!(
            (
                value(HEADER_VALUE_BYTES_MAX),
                value(HEADER_VALUE_BYTES_MAX + 1)
            ),
            (0, 1)
        );
    }
}
