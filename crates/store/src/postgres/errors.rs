use sqlx::Error;

use crate::StoreError;

/// `deadlock_detected` and `serialization_failure`: the same statement succeeds when repeated.
const REPEATABLE: [&str; 2] = ["40P01", "40001"];

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match reason(&error) {
            Some(reason) => Self::Unavailable {
                reason,
                source: Box::new(error),
            },
            None => Self::Corrupt(error.to_string()),
        }
    }
}

pub(super) fn is_repeatable(error: &Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| REPEATABLE.contains(&&*code))
}

/// Why the same call may succeed later; `None` if it will not.
fn reason(error: &Error) -> Option<&'static str> {
    match error {
        Error::Database(error) => error.code().and_then(|code| reason_of_code(&code)),
        Error::PoolTimedOut => Some("PostgreSQL gives no connection"),
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolClosed
        | Error::WorkerCrashed => Some("PostgreSQL cannot be reached"),
        _ => None,
    }
}

/// By SQLSTATE, PostgreSQL's appendix A.
fn reason_of_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "25006" => "PostgreSQL is read-only",
        "42P01" => "its schema is missing: run `fanfare migrate`",
        "3D000" => "PostgreSQL has no such database",
        "42501" => "PostgreSQL refuses this user the right",
        "53100" => "PostgreSQL's disk is full",
        "57014" => "PostgreSQL does not answer in time",
        _ => match code.get(..2)? {
            "08" => "PostgreSQL cannot be reached",
            "28" => "PostgreSQL refuses the login",
            "40" | "55" => "PostgreSQL is busy",
            "53" => "PostgreSQL is out of resources",
            "57" => "PostgreSQL is starting or stopping",
            "58" => "PostgreSQL's disk cannot be read or written",
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for (code, passes) in [
            ("53100", true),
            ("25006", true),
            ("57P03", true),
            ("23505", false),
        ] {
            assert_eq!(reason_of_code(code).is_some(), passes, "{code}");
        }
    }
}
