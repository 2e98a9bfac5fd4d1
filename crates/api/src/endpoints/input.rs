use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use dialect::{Dialect, Overrides, check_policy};
use model::{Circuit, Endpoint, Environment, FieldError, OnExhausted, RateLimit, Retry, TenantId};
use secrecy::ExposeSecret;
use sender::{Sender, check_headers};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::Snapshot;
use url::Url;
use utoipa::ToSchema;
use web::ApiError;

use crate::merge_patch::merge;
use crate::schema;

/// Characters of an endpoint's name at most.
pub(crate) const NAME_MAX: usize = 200;
/// Characters of an endpoint's description at most.
const DESCRIPTION_MAX: usize = 2_000;
/// Characters of a product's id at most.
const PRODUCT_MAX: usize = 256;
/// Bytes of an endpoint's `dialect_options`, as JSON, at most.
const DIALECT_OPTIONS_BYTES_MAX: usize = 4 * 1024;

/// What a client says about an endpoint. What is absent follows the dialect's profile.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EndpointInput {
    /// Required to make one. `https`, and no private address behind it.
    #[schema(example = "https://example.com/webhooks", format = "uri")]
    pub(crate) url: Option<String>,
    /// One of `GET /v1/dialects`.
    #[schema(default = "standard")]
    pub(crate) dialect: Option<String>,
    /// Required to make one. In the dialect's own names; `*` for all, `license.*` for a family.
    #[schema(example = json!(["*"]))]
    pub(crate) event_types: Option<Vec<String>>,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    /// Only events of this environment; all if absent.
    #[schema(value_type = Option<schema::Environment>)]
    pub(crate) environment: Option<Environment>,
    /// Only events of this product; all if absent.
    pub(crate) product: Option<String>,
    #[schema(default = true)]
    pub(crate) active: Option<bool>,
    /// A secret of one's own; made if absent. Cannot be patched: rotate it.
    #[serde(skip_serializing)]
    pub(crate) secret: Option<String>,
    #[schema(value_type = Option<schema::Retry>)]
    pub(crate) retry: Option<Retry>,
    /// Of the whole exchange.
    #[schema(minimum = 1, maximum = 60)]
    pub(crate) timeout_s: Option<u32>,
    #[schema(value_type = Option<schema::RateLimit>)]
    pub(crate) rate_limit: Option<RateLimit>,
    /// Requests to this endpoint at the same time.
    #[schema(minimum = 1, maximum = 1_000)]
    pub(crate) max_in_flight: Option<u32>,
    #[schema(value_type = Option<schema::CircuitSettings>)]
    pub(crate) circuit: Option<Circuit>,
    /// What the last failed attempt of a delivery does to the endpoint.
    #[schema(value_type = Option<schema::OnExhausted>)]
    pub(crate) on_exhausted: Option<OnExhausted>,
    /// Sent with every request besides the dialect's own.
    pub(crate) headers: Option<BTreeMap<String, String>>,
    #[schema(value_type = Option<Object>)]
    pub(crate) dialect_options: Option<Map<String, Value>>,
}

impl EndpointInput {
    /// What somebody would have to send to make `endpoint` as it is.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self {
            url: Some(endpoint.url.to_string()),
            dialect: Some(endpoint.dialect.clone()),
            event_types: Some(endpoint.event_types.clone()),
            name: endpoint.name.clone(),
            description: endpoint.description.clone(),
            environment: endpoint.environment,
            product: endpoint.product.clone(),
            active: Some(endpoint.is_active()),
            secret: None,
            retry: endpoint.retry.clone(),
            timeout_s: endpoint.timeout_s,
            rate_limit: endpoint.rate_limit,
            max_in_flight: endpoint.max_in_flight,
            circuit: endpoint.circuit,
            on_exhausted: endpoint.on_exhausted,
            headers: Some(endpoint.headers.clone()),
            dialect_options: Some(endpoint.dialect_options.clone()),
        }
    }

    /// What somebody would have to send to make `endpoint` as it is after the merge patch.
    pub(crate) fn patched(
        endpoint: &Endpoint,
        patch: &Value,
        public_host: Option<&str>,
    ) -> Result<Self, ApiError> {
        if patch.get("secret").is_some() {
            let detail = "is changed by POST …/rotate_secret";
            return Err(ApiError::invalid(vec![FieldError::new("/secret", detail)]));
        }
        if !patch.is_object() {
            return Err(ApiError::invalid(vec![FieldError::new(
                "",
                "must be an object",
            )]));
        }
        let mut value = serde_json::to_value(Self::of(endpoint)).expect("it is plain data");
        merge(&mut value, patch);
        let json = serde_json::to_vec(&value).expect("it is plain data");
        let mut patched: Self = web::read_json(&json)?;
        patched.name_origin(public_host);
        Ok(patched)
    }

    /// Names this installation's host to a receiver that is to be asked, unless the options name
    /// another.
    pub(super) fn name_origin(&mut self, public_host: Option<&str>) {
        let (dialect, options) = (self.dialect(), self.dialect_options.as_mut());
        if let (Some(dialect), Some(options), Some(host)) = (dialect, options, public_host) {
            dialect.name_origin(options, host);
        }
    }

    /// The dialect, if it is one.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.dialect
            .as_deref()
            .map_or(Some(Dialect::DEFAULT), Dialect::from_name)
    }

    /// Everything that is wrong and can be told without asking anybody.
    fn mistakes(&self, snapshot: &Snapshot, tenant: &TenantId) -> Vec<FieldError> {
        let mut errors = Vec::new();
        match self.dialect() {
            None => errors.push(FieldError::new("/dialect", unknown_dialect())),
            Some(dialect) => {
                let registered = |name: &str| snapshot.knows_event_type(tenant, name);
                let event_types = self.event_types.as_deref().unwrap_or_default();
                let none = Map::new();
                let options = self.dialect_options.as_ref().unwrap_or(&none);
                errors.extend(dialect.check_event_types(event_types, options, &registered));
                let secret = self.secret.as_deref();
                errors.extend(secret.and_then(|secret| dialect.check_secret(secret).err()));
                errors.extend(dialect.check_options(options));
            }
        }
        errors.extend(check_policy(&Overrides {
            retry: self.retry.as_ref(),
            timeout_s: self.timeout_s,
            rate_limit: self.rate_limit,
            max_in_flight: self.max_in_flight,
            circuit: self.circuit,
        }));
        errors.extend(self.headers.as_ref().map(check_headers).unwrap_or_default());
        errors.extend(check_text("/name", self.name.as_deref(), NAME_MAX));
        errors.extend(check_text(
            "/description",
            self.description.as_deref(),
            DESCRIPTION_MAX,
        ));
        errors.extend(check_text("/product", self.product.as_deref(), PRODUCT_MAX));
        errors.extend(self.dialect_options.as_ref().and_then(check_size));
        errors
    }

    /// Checks it all and answers the URL to use, for a new endpoint or what is to become of
    /// `current`. A URL that it has already is not asked after again: its name may have become
    /// unresolvable, and that is no reason to refuse a change of something else.
    pub(crate) async fn check(
        &self,
        sender: &Sender,
        snapshot: &Snapshot,
        tenant: &TenantId,
        current: Option<&Endpoint>,
    ) -> Result<Url, ApiError> {
        let mut errors = self.mistakes(snapshot, tenant);
        errors.extend(current.and_then(|current| self.check_secrets_of(current)));
        let url = match (&self.url, current.map(|current| &current.url)) {
            (None, _) => Err(FieldError::new("/url", "is required")),
            (Some(url), Some(current)) if url == current.as_str() => Ok(current.clone()),
            (Some(url), _) => sender.check_target(url).await,
        };
        match url {
            Ok(url) if errors.is_empty() => Ok(url),
            Ok(_) => Err(ApiError::invalid(errors)),
            Err(error) => {
                errors.insert(0, error);
                Err(ApiError::invalid(errors))
            }
        }
    }

    /// Whether the secrets that sign for `endpoint` can sign in another dialect too.
    fn check_secrets_of(&self, endpoint: &Endpoint) -> Option<FieldError> {
        let dialect = self.dialect().filter(|it| it.name() != endpoint.dialect)?;
        let mut secrets = endpoint.signing_secrets(ambient::now());
        let error = secrets.find_map(|it| dialect.check_secret(it.value.expose_secret()).err())?;
        let detail = format!(
            "cannot sign with a secret of the endpoint, which {}: rotate it first, with \
             \"grace_s\": 0",
            error.detail
        );
        Some(FieldError::new("/dialect", detail))
    }

    /// Puts all settings into `endpoint`, which keeps its state and secrets.
    pub(crate) fn apply(self, endpoint: &mut Endpoint, url: Url) {
        endpoint.url = url;
        endpoint.dialect = self
            .dialect
            .unwrap_or_else(|| Dialect::DEFAULT.name().to_owned());
        endpoint.event_types = self.event_types.unwrap_or_default();
        endpoint.name = self.name;
        endpoint.description = self.description;
        endpoint.environment = self.environment;
        endpoint.product = self.product;
        endpoint.retry = self.retry;
        endpoint.timeout_s = self.timeout_s;
        endpoint.rate_limit = self.rate_limit;
        endpoint.max_in_flight = self.max_in_flight;
        endpoint.circuit = self.circuit;
        endpoint.on_exhausted = self.on_exhausted;
        endpoint.headers = self.headers.unwrap_or_default();
        endpoint.dialect_options = self.dialect_options.unwrap_or_default();
    }
}

pub(crate) fn unknown_dialect() -> String {
    let names: Vec<_> = Dialect::ALL.iter().map(|dialect| dialect.name()).collect();
    format!("must be one of {}", names.join(", "))
}

pub(crate) fn check_text(pointer: &str, text: Option<&str>, max: usize) -> Option<FieldError> {
    let text = text?;
    if text.chars().count() > max {
        return Some(FieldError::new(
            pointer,
            format!("must have at most {max} characters"),
        ));
    }
    // Line breaks are fine in a description.
    let control = text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    control.then(|| FieldError::new(pointer, "must not have control characters"))
}

fn check_size(options: &Map<String, Value>) -> Option<FieldError> {
    let bytes = serde_json::to_vec(options).map_or(usize::MAX, |json| json.len());
    (bytes > DIALECT_OPTIONS_BYTES_MAX).then(|| {
        let detail = format!("must have at most {DIALECT_OPTIONS_BYTES_MAX} bytes as JSON");
        FieldError::new("/dialect_options", detail)
    })
}

/// Checks a secret that somebody brings along, for an endpoint of `dialect`.
pub(crate) fn check_secret_of(
    dialect: Option<Dialect>,
    secret: &secrecy::SecretString,
) -> Result<(), ApiError> {
    let Some(dialect) = dialect else {
        return Err(ApiError::conflict(
            "this version does not know the endpoint's dialect",
        ));
    };
    dialect
        .check_secret(secret.expose_secret())
        .map_err(|error| ApiError::invalid(vec![error]))
}

/// A number of seconds, `default` if it is not given.
pub(super) fn check_seconds(
    pointer: &str,
    seconds: Option<u64>,
    default: u64,
    allowed: RangeInclusive<u64>,
) -> Result<Duration, FieldError> {
    let seconds = seconds.unwrap_or(default);
    if allowed.contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    let detail = format!("must be {} to {}", allowed.start(), allowed.end());
    Err(FieldError::new(pointer, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_in_characters_at_their_limit() {
        assert_eq!(
            check_text("/name", Some(&"é".repeat(NAME_MAX)), NAME_MAX),
            None
        );
        assert!(check_text("/name", Some(&"é".repeat(NAME_MAX + 1)), NAME_MAX).is_some());
        assert_eq!(check_text("/name", None, NAME_MAX), None);
        assert!(check_text("/name", Some("a\u{0}b"), NAME_MAX).is_some());
        assert_eq!(check_text("/description", Some("two\nlines"), 20), None);
    }

    #[test]
    fn dialect_options_are_bounded_in_bytes_at_their_limit() {
        let options = |bytes: usize| {
            let text = "x".repeat(bytes - r#"{"a":""}"#.len());
            Map::from_iter([("a".to_owned(), Value::String(text))])
        };
        assert_eq!(check_size(&options(DIALECT_OPTIONS_BYTES_MAX)), None);
        assert!(check_size(&options(DIALECT_OPTIONS_BYTES_MAX + 1)).is_some());
    }

    #[test]
    fn seconds_are_bounded_at_their_limits() {
        let grace = |seconds| check_seconds("/grace_s", seconds, 60, 0..=100);
        assert_eq!(grace(None).unwrap().as_secs(), 60);
        assert!(grace(Some(100)).is_ok());
        assert!(grace(Some(101)).is_err());
    }
}
