//! Taking requests in: what a source of this dialect has to know.

use model::{FieldError, KeyKind};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{Dialect, Received, Verified, VerifyError};

impl Dialect {
    /// The first half of [`Self::verify`]: whether somebody who knows the key sent the request.
    pub fn authenticate(
        self,
        key: &SecretString,
        received: &Received<'_>,
    ) -> Result<(), VerifyError> {
        (self.format().verify)(received, key.expose_secret())
    }

    /// The other half: what a request delivers that is from whom it should be.
    pub fn identify(self, received: &Received<'_>) -> Result<Verified, VerifyError> {
        (self.format().identify)(received)
    }

    /// The kinds of keys that requests are verified with; none where they carry no signature.
    pub fn key_kinds(self) -> impl Iterator<Item = KeyKind> {
        let profile = self.profile();
        let secret = profile.secret_verifies.then_some(KeyKind::Secret);
        let public = profile.check_public_key.map(|_| KeyKind::Public);
        secret.into_iter().chain(public)
    }

    /// Whether requests can be verified with the key.
    pub fn check_key(self, kind: KeyKind, key: &str) -> Result<(), FieldError> {
        let (pointer, noun) = match kind {
            KeyKind::Secret => ("/secret", "a secret"),
            KeyKind::Public => ("/public_key", "a public key"),
        };
        if !self.key_kinds().any(|it| it == kind) {
            let detail = format!("the dialect {} does not verify with {noun}", self.name());
            return Err(FieldError::new(pointer, detail));
        }
        let profile = self.profile();
        let check = match kind {
            KeyKind::Public => profile.check_public_key,
            KeyKind::Secret => Some(profile.check_given_secret),
        };
        check
            .map_or(Ok(()), |check| check(key))
            .map_err(|detail| FieldError::new(pointer, detail))
    }

    /// The headers that a request of this dialect may have besides those of all requests.
    pub fn header_names(self) -> impl Iterator<Item = &'static str> {
        let profile = self.profile();
        let names = profile.headers.iter().chain(profile.optional_headers);
        names.copied()
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    #[test]
    fn a_dialect_has_keys_exactly_where_its_requests_are_signed() {
        for dialect in Dialect::ALL {
            let headers = |_: &str| None;
            let received = Received {
                target: "/in",
                url: None,
                headers: &headers,
                body: b"{}",
                now: Timestamp::EPOCH,
            };
            let unsigned = matches!(
                dialect.authenticate(&"".into(), &received),
                Err(VerifyError::Unsigned)
            );
            assert_eq!(
                dialect.key_kinds().count() == 0,
                unsigned,
                "{}",
                dialect.name()
            );
        }
    }

    #[test]
    fn a_key_of_a_kind_that_does_not_verify_is_refused_at_its_member() {
        for dialect in Dialect::ALL {
            for (kind, pointer) in [
                (KeyKind::Secret, "/secret"),
                (KeyKind::Public, "/public_key"),
            ] {
                let error = dialect.check_key(kind, "").unwrap_err();
                assert_eq!(error.pointer, pointer, "{}", dialect.name());
            }
        }
    }
}
