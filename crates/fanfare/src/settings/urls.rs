//! Where the services are. What is wrong with a URL is said without repeating it, for it may hold a
//! password.

use secrecy::SecretString;
use url::Url;

pub(super) fn store(text: &str) -> Result<SecretString, &'static str> {
    match text.split_once("://") {
        Some(("sqlite", path)) if path.is_empty() || path.contains('?') => {
            Err("must name a file after sqlite://, and nothing else")
        }
        Some(("sqlite", _)) => Ok(text.into()),
        Some(("postgres" | "postgresql", _)) if Url::parse(text).is_ok() => Ok(text.into()),
        Some(("postgres" | "postgresql", _)) => {
            Err("is not a URL: expected postgres://user:password@host:5432/database")
        }
        Some(_) | None => Err("must start with postgres:// or sqlite://"),
    }
}

pub(super) fn broker(text: &str) -> Result<SecretString, broker::OpenError> {
    broker::check_url(text).map(|()| text.into())
}

pub(super) fn management(text: &str) -> Result<SecretString, exporter::BadManagementUrl> {
    exporter::Management::check_url(text).map(|()| text.into())
}

pub(super) fn redis(text: &str) -> Result<SecretString, &'static str> {
    match text.split_once("://") {
        Some(("redis" | "rediss", _)) if Url::parse(text).is_ok_and(|url| url.has_host()) => {
            Ok(text.into())
        }
        Some(("redis" | "rediss", _)) => {
            Err("is not a URL: expected redis://user:password@host:6379/0")
        }
        Some(_) | None => Err("must start with redis:// or rediss://"),
    }
}

/// Without a slash at its end, so that a path can follow.
pub(super) fn public(text: &str) -> Result<String, &'static str> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "https" | "http") && url.query().is_none() => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        Ok(_) | Err(_) => Err("must be a URL such as https://fanfare.example.com"),
    }
}
