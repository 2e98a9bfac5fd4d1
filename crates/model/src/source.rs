use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{EndpointSecret, Environment, SourceId, Submission, TenantId, Timestamp};

/// Where another system's webhooks come in: a dialect, what its requests are verified with, and
/// what holds for events that do not say it themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    pub id: SourceId,
    pub tenant: TenantId,
    pub dialect: String,
    pub name: Option<String>,
    /// Of events that name none.
    pub environment: Option<Environment>,
    /// Of events that name none.
    pub product: Option<String>,
    pub active: bool,
    pub key_kind: KeyKind,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Counts changes; a write names the revision it changes.
    pub revision: u64,
    /// What requests verify with, newest first: secrets, or public keys. Never serializes: the
    /// store seals it.
    #[serde(skip)]
    pub keys: Vec<EndpointSecret>,
}

/// What a source's requests are verified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// The sender knows it too.
    Secret,
    /// The other half of a key that the sender alone knows.
    Public,
}

impl Source {
    /// An active source.
    pub fn new(
        id: SourceId,
        tenant: TenantId,
        dialect: &str,
        (key_kind, key): (KeyKind, SecretString),
    ) -> Self {
        let now = id.created_at();
        Self {
            id,
            tenant,
            dialect: dialect.to_owned(),
            name: None,
            environment: None,
            product: None,
            active: true,
            key_kind,
            created_at: now,
            updated_at: now,
            revision: 1,
            keys: vec![EndpointSecret {
                value: key,
                created_at: now,
                signs_until: None,
            }],
        }
    }

    /// The keys that verify at `now`, newest first.
    pub fn valid_keys(&self, now: Timestamp) -> impl Iterator<Item = &EndpointSecret> {
        self.keys
            .iter()
            .filter(move |key| key.signs_until.is_none_or(|until| now < until))
    }

    /// The submission with what its sender left out.
    #[must_use]
    pub fn complete(&self, submission: Submission) -> Submission {
        Submission {
            environment: submission.environment.or(self.environment),
            product: submission.product.or_else(|| self.product.clone()),
            ..submission
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source() -> Source {
        let tenant = TenantId::new("acme").unwrap();
        let id = SourceId::new(Timestamp::from_seconds(100), 7);
        Source::new(id, tenant, "standard", (KeyKind::Secret, "s".into()))
    }

    #[test]
    fn only_what_the_sender_left_out_is_completed() {
        let source = Source {
            environment: Some(Environment::Staging),
            product: Some("ours".to_owned()),
            ..source()
        };
        let complete = |more: &str| {
            let body = format!(r#"{{"type":"license.created","data":{{}}{more}}}"#);
            let submission = source.complete(Submission::parse(body.as_bytes()).unwrap());
            (submission.environment, submission.product)
        };
        let ours = Some("ours".to_owned());
        assert_eq!(complete(""), (Some(Environment::Staging), ours.clone()));
        let production = r#","environment":"production""#;
        assert_eq!(complete(production), (Some(Environment::Production), ours));
        let theirs = Some("theirs".to_owned());
        assert_eq!(complete(r#","product":"theirs""#).1, theirs);
    }

    #[test]
    fn a_rotated_key_verifies_until_its_end_and_no_longer() {
        let mut source = source();
        let end = Timestamp::from_seconds(200);
        source.keys[0].signs_until = Some(end);
        let before = end.minus(Duration::from_millis(1));
        assert_eq!(source.valid_keys(before).count(), 1);
        assert_eq!(source.valid_keys(end).count(), 0);
    }
}
