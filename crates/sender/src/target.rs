use std::time::Duration;

use model::FieldError;
use tokio::time::timeout;
use url::{Host, Url};

use crate::{Sender, is_forbidden};

/// The longest URL of an endpoint, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// How long registration waits for a name to resolve.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

impl Sender {
    /// Checks a URL when an endpoint is registered, so that a mistake is seen at once.
    ///
    /// A name that does not resolve yet is accepted. What counts in the end is judged whenever a
    /// connection is made.
    pub async fn check_target(&self, url: &str) -> Result<Url, FieldError> {
        let url = self.parse_target(url).map_err(refused)?;
        if self.guard.allow_private {
            return Ok(url);
        }
        if !self.guard.admits_host(&url) {
            return Err(refused("must not be a private, local or reserved address"));
        }
        if let Some(Host::Domain(name)) = url.host() {
            let found = timeout(LOOKUP_TIMEOUT, self.resolver.lookup(name)).await;
            if let Ok(Ok(found)) = found
                && found.iter().any(|address| is_forbidden(address.ip()))
            {
                return Err(refused("resolves to a private, local or reserved address"));
            }
        }
        Ok(url)
    }

    fn parse_target(&self, text: &str) -> Result<Url, &'static str> {
        if text.len() > URL_BYTES_MAX {
            return Err("must be at most 2048 bytes long");
        }
        let url: Url = text
            .parse()
            .map_err(|_| "must be a URL such as https://receiver.example/hooks")?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err("must begin with https://");
        }
        if !self.guard.admits_scheme(&url) {
            return Err("must begin with https://: http:// is for development only");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or password: send an authorization header");
        }
        if url.fragment().is_some() {
            return Err("must not have a fragment (#…): it is never sent");
        }
        if url.port() == Some(0) {
            return Err("must not name port 0");
        }
        if url.as_str().parse::<http::Uri>().is_err() {
            return Err("holds characters that cannot be sent in a request");
        }
        Ok(url)
    }
}

fn refused(detail: &'static str) -> FieldError {
    FieldError::new("/url", detail)
}
