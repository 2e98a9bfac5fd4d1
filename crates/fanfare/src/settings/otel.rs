//! Traces.

use std::str::FromStr;

use telemetry::{Traces, TracesConfig, TracesError};
use url::Url;

use super::Given;

#[derive(Clone, Debug)]
pub(crate) struct Otel {
    /// `otel.endpoint`, such as `http://collector:4318`: takes traces as OTLP over HTTP; none is
    /// no traces.
    endpoint: Option<String>,
    /// `otel.sample_ratio`, 0 to 1, default 1: the share of traces begun here that are recorded.
    /// Those that publishers began are recorded if they say so.
    sample_ratio: f64,
}

impl Otel {
    pub(super) fn read(given: &mut Given) -> Self {
        Self {
            endpoint: given.optional_with("otel.endpoint", endpoint),
            sample_ratio: given.or::<Ratio>("otel.sample_ratio", "1").0,
        }
    }

    /// The traces of this process.
    pub(crate) fn traces(&self, role: &'static str) -> Result<Traces, TracesError> {
        let Some(endpoint) = &self.endpoint else {
            return Ok(Traces::default());
        };
        Traces::to_collector(TracesConfig {
            endpoint,
            sample_ratio: self.sample_ratio,
            role,
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}

/// Without user and password: it is repeated in logs.
fn endpoint(text: &str) -> Result<String, &'static str> {
    match Url::parse(text) {
        Ok(url)
            if matches!(url.scheme(), "https" | "http")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none() =>
        {
            Ok(text.to_owned())
        }
        Ok(_) | Err(_) => Err("must be a URL such as http://collector:4318, without a password"),
    }
}

struct Ratio(f64);

impl FromStr for Ratio {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ratio = text
            .parse()
            .ok()
            .filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.map(Self).ok_or("must be a number from 0 to 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_from_0_to_1() {
        for (text, ratio) in [("0", 0.0), ("0.25", 0.25), ("1", 1.0)] {
            assert_eq!(Ratio::from_str(text).map(|ratio| ratio.0), Ok(ratio));
        }
        for text in ["-0.1", "1.01", "NaN", "inf", "half", ""] {
            assert!(Ratio::from_str(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_a_base_url_without_a_password() {
        for text in ["http://collector:4318", "https://otel.example.com/tenant/"] {
            assert_eq!(endpoint(text).as_deref(), Ok(text));
        }
        for text in [
            "collector:4318",
            "grpc://collector:4317",
            "http://u:hunter2@collector",
            "http://collector?key=hunter2",
        ] {
            let error = endpoint(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
