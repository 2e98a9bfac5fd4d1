use rusqlite::{Error, ErrorCode};

use crate::StoreError;

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

/// Why the same call may succeed later; `None` if it will not.
fn reason(error: &Error) -> Option<&'static str> {
    let Error::SqliteFailure(failure, message) = error else {
        return None;
    };
    match failure.code {
        ErrorCode::DiskFull => Some("the disk is full"),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Some("its file is read-only"),
        ErrorCode::SystemIoFailure => Some("its disk cannot be read or written"),
        ErrorCode::CannotOpen => Some("its file cannot be opened"),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some("its file is locked"),
        ErrorCode::OutOfMemory => Some("there is no memory left"),
        ErrorCode::OperationInterrupted => Some("it was interrupted"),
        _ if message
            .as_ref()
            .is_some_and(|text| text.starts_with("no such table")) =>
        {
            Some("its schema is missing: run `fanfare migrate`")
        }
        _ => None,
    }
}
