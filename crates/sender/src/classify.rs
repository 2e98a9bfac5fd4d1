use std::error::Error;
use std::io;

use model::ErrorClass;

use crate::guard::ResolveError;

/// Tells what kept a request from being answered, from the first error in the chain of sources
/// that says so. `connecting`: no connection stood yet.
pub(crate) fn classify(error: &(dyn Error + 'static), connecting: bool) -> ErrorClass {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(class) = class_of(error, connecting) {
            return class;
        }
        next = inner(error);
    }
    if connecting {
        ErrorClass::ConnectFailed
    } else {
        ErrorClass::ConnectionClosed
    }
}

/// The next error inwards. An `io::Error` leaves out the one it wraps when asked for its source.
fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn class_of(error: &(dyn Error + 'static), connecting: bool) -> Option<ErrorClass> {
    if let Some(error) = error.downcast_ref::<ResolveError>() {
        return Some(match error {
            ResolveError::Forbidden => ErrorClass::TargetForbidden,
            ResolveError::Failed(_) => ErrorClass::DnsFailed,
        });
    }
    if error.is::<rustls::Error>() {
        return Some(ErrorClass::TlsFailed);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        if error.is_parse() || error.is_parse_too_large() {
            return Some(ErrorClass::ResponseInvalid);
        }
        if error.is_incomplete_message() {
            return Some(ErrorClass::ConnectionClosed);
        }
        if error.is_timeout() {
            return Some(ErrorClass::Timeout);
        }
    }
    let error = error.downcast_ref::<io::Error>()?;
    if error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
    {
        return Some(ErrorClass::TlsFailed);
    }
    of_io(error.kind(), connecting)
}

fn of_io(kind: io::ErrorKind, connecting: bool) -> Option<ErrorClass> {
    match kind {
        io::ErrorKind::ConnectionRefused => Some(ErrorClass::ConnectionRefused),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Some(ErrorClass::ConnectionReset),
        io::ErrorKind::TimedOut => Some(ErrorClass::Timeout),
        // While connecting, only the TLS handshake reads.
        io::ErrorKind::UnexpectedEof if connecting => Some(ErrorClass::TlsFailed),
        io::ErrorKind::UnexpectedEof => Some(ErrorClass::ConnectionClosed),
        // Once connected: a chunk of the body that is none.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if !connecting => {
            Some(ErrorClass::ResponseInvalid)
        }
        _ => None,
    }
}
