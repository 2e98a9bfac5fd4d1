use dialect::Dialect;
use model::{Environment, FieldError, KeyKind, Source, check_product};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use web::ApiError;

use crate::endpoints::{NAME_MAX, check_text, unknown_dialect};
use crate::merge_patch::merge;
use crate::schema;

/// Bytes of a public key at most; one of RSA with 4,096 bits has 800.
const PUBLIC_KEY_BYTES_MAX: usize = 4 * 1024;

/// What a client says about a new source.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SourceInput {
    /// Required. What the other system sends: one of `GET /v1/dialects`.
    #[schema(example = "standard")]
    dialect: Option<String>,
    /// What the other system signs with; made if both this and `public_key` are absent.
    secret: Option<String>,
    /// Where the other system signs with a pair of keys: the other half.
    public_key: Option<String>,
    name: Option<String>,
    /// Of events that name none; `production` if absent.
    #[schema(value_type = Option<schema::Environment>)]
    environment: Option<Environment>,
    /// Of events that name none.
    product: Option<String>,
    #[schema(default = true)]
    active: Option<bool>,
}

/// What of a source can be changed.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SourceSettings {
    name: Option<String>,
    #[schema(value_type = Option<schema::Environment>)]
    environment: Option<Environment>,
    product: Option<String>,
    active: Option<bool>,
}

/// A key to verify with, and the secret to show if it was made here.
pub(super) struct NewKey {
    pub(super) kind: KeyKind,
    pub(super) value: SecretString,
    pub(super) shown: Option<String>,
}

impl SourceInput {
    /// Checks it all; what remains is settings.
    pub(super) fn check(self) -> Result<(Dialect, NewKey, SourceSettings), ApiError> {
        let mut errors = Vec::new();
        let dialect = self.dialect.as_deref().map(Dialect::from_name);
        match dialect {
            None => errors.push(FieldError::new("/dialect", "is required")),
            Some(None) => errors.push(FieldError::new("/dialect", unknown_dialect())),
            Some(Some(_)) => {}
        }
        let settings = SourceSettings {
            name: self.name,
            environment: self.environment,
            product: self.product,
            active: self.active,
        };
        errors.extend(settings.mistakes());
        let dialect = dialect.flatten();
        let key = dialect.map(|dialect| new_key(dialect, None, self.secret, self.public_key));
        match (dialect, key) {
            (Some(dialect), Some(Ok(key))) if errors.is_empty() => Ok((dialect, key, settings)),
            (_, Some(Err(error))) => {
                errors.push(error);
                Err(ApiError::invalid(errors))
            }
            (_, Some(Ok(_)) | None) => Err(ApiError::invalid(errors)),
        }
    }
}

/// Chooses what to verify with: what is given or, where a secret does, a new one. `kind` is that of
/// the keys that are there already.
pub(super) fn new_key(
    dialect: Dialect,
    kind: Option<KeyKind>,
    secret: Option<String>,
    public_key: Option<String>,
) -> Result<NewKey, FieldError> {
    let kinds: Vec<_> = dialect.key_kinds().collect();
    if kinds.is_empty() {
        let detail = "requests of this dialect carry no signature: nobody can tell who sent them";
        return Err(FieldError::new("/dialect", detail));
    }
    let expected = |wanted: KeyKind| kind.is_none_or(|kind| kind == wanted);
    let (kind, value) = match (secret, public_key) {
        (Some(_), Some(_)) => {
            let detail = "give a secret or a public key, not both";
            return Err(FieldError::new("/public_key", detail));
        }
        (Some(_), None) if !expected(KeyKind::Secret) => {
            let detail = "the source verifies with a public key";
            return Err(FieldError::new("/secret", detail));
        }
        (None, Some(_)) if !expected(KeyKind::Public) => {
            let detail = "the source verifies with a secret";
            return Err(FieldError::new("/public_key", detail));
        }
        (Some(secret), None) => (KeyKind::Secret, secret),
        (None, Some(key)) if key.len() > PUBLIC_KEY_BYTES_MAX => {
            let detail = format!("must have at most {PUBLIC_KEY_BYTES_MAX} bytes");
            return Err(FieldError::new("/public_key", detail));
        }
        (None, Some(key)) => (KeyKind::Public, key),
        (None, None) if expected(KeyKind::Secret) && kinds.contains(&KeyKind::Secret) => {
            let value = Dialect::generate_secret(ambient::random_secret());
            return Ok(NewKey {
                kind: KeyKind::Secret,
                shown: Some(value.expose_secret().to_owned()),
                value,
            });
        }
        (None, None) => return Err(FieldError::new("/public_key", "is required")),
    };
    dialect.check_key(kind, &value)?;
    Ok(NewKey {
        kind,
        value: value.into(),
        shown: None,
    })
}

impl SourceSettings {
    fn of(source: &Source) -> Self {
        Self {
            name: source.name.clone(),
            environment: source.environment,
            product: source.product.clone(),
            active: Some(source.active),
        }
    }

    /// The settings of `source` after a JSON merge patch.
    pub(super) fn patched(source: &Source, patch: &Value) -> Result<Self, ApiError> {
        if !patch.is_object() {
            let error = FieldError::new("", "must be an object");
            return Err(ApiError::invalid(vec![error]));
        }
        let mut value = serde_json::to_value(Self::of(source)).expect("it is plain data");
        merge(&mut value, patch);
        let json = serde_json::to_vec(&value).expect("it is plain data");
        let settings: Self = web::read_json(&json)?;
        let errors = settings.mistakes();
        if errors.is_empty() {
            Ok(settings)
        } else {
            Err(ApiError::invalid(errors))
        }
    }

    fn mistakes(&self) -> Vec<FieldError> {
        let name = check_text("/name", self.name.as_deref(), NAME_MAX);
        let product = self.product.as_deref().map(check_product);
        let product = product.and_then(Result::err);
        name.into_iter().chain(product).collect()
    }

    pub(super) fn apply(self, source: &mut Source) {
        source.name = self.name;
        source.environment = self.environment;
        source.product = self.product;
        source.active = self.active.unwrap_or(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_bounded_at_4_kib() {
        let refused = |bytes: usize| {
            let key = Some("x".repeat(bytes));
            let error = new_key(Dialect::Standard, None, None, key).err().unwrap();
            assert_eq!(error.pointer, "/public_key");
            error.detail
        };
        assert!(refused(PUBLIC_KEY_BYTES_MAX + 1).contains("4096"));
        assert!(!refused(PUBLIC_KEY_BYTES_MAX).contains("4096"), "read");
    }

    #[test]
    fn a_key_of_the_other_kind_does_not_follow() {
        for (kind, secret, public_key, pointer) in [
            (KeyKind::Public, Some("s"), None, "/secret"),
            (KeyKind::Public, None, None, "/public_key"),
            (KeyKind::Secret, None, Some("p"), "/public_key"),
            (KeyKind::Secret, Some("s"), Some("p"), "/public_key"),
        ] {
            let [secret, public_key] = [secret, public_key].map(|it| it.map(str::to_owned));
            let refused = new_key(Dialect::Standard, Some(kind), secret, public_key);
            assert_eq!(refused.err().unwrap().pointer, pointer);
        }
    }
}
