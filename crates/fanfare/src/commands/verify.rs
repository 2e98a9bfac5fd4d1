use std::io::Read;

use anyhow::{Context, anyhow, bail};
use dialect::{Dialect, Received};
use secrecy::SecretString;

use crate::cli::Verify;
use crate::terminal;

/// Bytes of a body at most: more than any delivery has.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Verifies a captured request.
pub(crate) fn verify(verify: Verify) -> anyhow::Result<()> {
    let dialect = dialect(&verify.dialect)?;
    let headers = headers(&verify.headers)?;
    let mut body = Vec::new();
    std::io::stdin()
        .take(BODY_BYTES_MAX)
        .read_to_end(&mut body)
        .context("reading the body from standard input")?;
    let header = |name: &str| {
        let given = headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name));
        given.map(|(_, value)| value.as_str())
    };
    let secret = SecretString::from(verify.secret);
    let received = Received {
        target: &verify.target,
        url: None,
        headers: &header,
        body: &body,
        now: ambient::now(),
    };
    match dialect.verify(&secret, &received) {
        Ok(verified) => {
            terminal::line(&format!(
                "verifies: {} {}",
                verified.event_type, verified.id
            ));
            Ok(())
        }
        Err(error) => bail!("does not verify: {error}"),
    }
}

/// The dialect of this name, or an error that lists them.
pub(crate) fn dialect(name: &str) -> anyhow::Result<Dialect> {
    Dialect::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Dialect::ALL.iter().map(|dialect| dialect.name()).collect();
        anyhow!(
            "there is no dialect {name}; there are: {}",
            names.join(", ")
        )
    })
}

fn headers(given: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    given
        .iter()
        .map(|header| {
            let (name, value) = header
                .split_once(':')
                .with_context(|| format!("--header {header}: must be 'Name: value'"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}
