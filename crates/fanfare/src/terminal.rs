//! What a person at the terminal reads; everything else goes to the log.

use std::io::Write;

/// Prints a line to standard output. A reader that has gone away is no reason to stop.
pub(crate) fn line(text: &str) {
    let _reader_gone = writeln!(std::io::stdout(), "{text}");
}

/// Prints an error to standard error.
pub(crate) fn error(text: &str) {
    let _reader_gone = writeln!(std::io::stderr(), "error: {text}");
}
