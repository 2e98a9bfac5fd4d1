//! Secrets at rest: sealed with the master key, bound to what they belong to.

use std::collections::BTreeMap;
use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Endpoint, EndpointSecret, Source, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// Bytes of a master key.
pub const MASTER_KEY_BYTES: usize = 32;

/// AES-GCM's nonce, 96 bits (NIST SP 800-38D §8.2.2), in front of the sealed bytes.
const NONCE_BYTES: usize = 12;

/// The key that seals secrets (AES-256-GCM). Never shown by `Debug`.
#[derive(Clone)]
pub struct MasterKey {
    cipher: Aes256Gcm,
    bytes: [u8; MASTER_KEY_BYTES],
    /// Opens too, but seals nothing.
    other: Option<Aes256Gcm>,
}

/// A text that is no master key.
#[derive(Debug, thiserror::Error)]
#[error("the master key must be {MASTER_KEY_BYTES} bytes in base64")]
pub struct MasterKeyError;

/// Sealed bytes that this key does not open: another key, another owner's, or damaged.
#[derive(Debug, thiserror::Error)]
#[error("the master key does not open this")]
pub(crate) struct SealError;

impl MasterKey {
    pub fn from_bytes(bytes: [u8; MASTER_KEY_BYTES]) -> Self {
        Self {
            cipher: Aes256Gcm::new(&bytes.into()),
            bytes,
            other: None,
        }
    }

    /// This key, which also opens what `other` sealed: for as long as one takes the other's place.
    #[must_use]
    pub fn opening_also(self, other: Self) -> Self {
        Self {
            other: Some(other.cipher),
            ..self
        }
    }

    /// Reads standard base64, padded.
    pub fn from_base64(text: &str) -> Result<Self, MasterKeyError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| MasterKeyError)?;
        bytes
            .try_into()
            .map(Self::from_bytes)
            .map_err(|_| MasterKeyError)
    }

    /// The key in clear, to be kept by whoever made it.
    pub fn to_base64(&self) -> SecretString {
        STANDARD.encode(self.bytes).into()
    }

    /// Seals with a random nonce, which stands in front. `owner` is the associated data: what is
    /// sealed for one opens for no other.
    pub(crate) fn seal(&self, owner: &[u8], clear: &[u8]) -> Vec<u8> {
        let random = ambient::random_secret();
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&random[..NONCE_BYTES]);
        let payload = Payload {
            msg: clear,
            aad: owner,
        };
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .expect("secrets are far below the limit of AES-GCM");
        [&nonce[..], &sealed].concat()
    }

    pub(crate) fn open(&self, owner: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError)?;
        let open = |cipher: &Aes256Gcm| {
            let payload = Payload {
                msg: sealed,
                aad: owner,
            };
            cipher.decrypt(&Nonce::from(*nonce), payload).ok()
        };
        open(&self.cipher)
            .or_else(|| self.other.as_ref().and_then(open))
            .ok_or(SealError)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

/// What of an endpoint is sealed: its secrets, and its headers, which may carry credentials.
#[derive(Serialize, Deserialize)]
struct SealedPart {
    secrets: Vec<SealedSecret>,
    headers: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct SealedSecret {
    value: String,
    created_at: Timestamp,
    signs_until: Option<Timestamp>,
}

impl From<&EndpointSecret> for SealedSecret {
    fn from(secret: &EndpointSecret) -> Self {
        Self {
            value: secret.value.expose_secret().to_owned(),
            created_at: secret.created_at,
            signs_until: secret.signs_until,
        }
    }
}

impl From<SealedSecret> for EndpointSecret {
    fn from(secret: SealedSecret) -> Self {
        Self {
            value: secret.value.into(),
            created_at: secret.created_at,
            signs_until: secret.signs_until,
        }
    }
}

/// Seals what of an endpoint must not be stored in clear.
pub(crate) fn seal_endpoint(key: &MasterKey, endpoint: &Endpoint) -> Vec<u8> {
    let part = SealedPart {
        secrets: endpoint.secrets.iter().map(SealedSecret::from).collect(),
        headers: endpoint.headers.clone(),
    };
    let clear = serde_json::to_vec(&part).expect("strings and times serialize");
    key.seal(&endpoint.id.as_u128().to_be_bytes(), &clear)
}

/// Puts the sealed part back into an endpoint read from its body.
pub(crate) fn open_endpoint(
    key: &MasterKey,
    endpoint: &mut Endpoint,
    sealed: &[u8],
) -> Result<(), SealError> {
    let clear = key.open(&endpoint.id.as_u128().to_be_bytes(), sealed)?;
    let part: SealedPart = serde_json::from_slice(&clear).map_err(|_| SealError)?;
    endpoint.headers = part.headers;
    endpoint.secrets = part.secrets.into_iter().map(EndpointSecret::from).collect();
    Ok(())
}

/// Seals a source's keys.
pub(crate) fn seal_source(key: &MasterKey, source: &Source) -> Vec<u8> {
    let keys: Vec<_> = source.keys.iter().map(SealedSecret::from).collect();
    let clear = serde_json::to_vec(&keys).expect("strings and times serialize");
    key.seal(&source.id.as_u128().to_be_bytes(), &clear)
}

/// Puts the keys back into a source read from its body.
pub(crate) fn open_source(
    key: &MasterKey,
    source: &mut Source,
    sealed: &[u8],
) -> Result<(), SealError> {
    let clear = key.open(&source.id.as_u128().to_be_bytes(), sealed)?;
    let keys: Vec<SealedSecret> = serde_json::from_slice(&clear).map_err(|_| SealError)?;
    source.keys = keys.into_iter().map(EndpointSecret::from).collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"endpoint 1";

    #[test]
    fn what_was_sealed_opens_again_and_shows_nothing() {
        let key = MasterKey::from_bytes([7; 32]);
        let sealed = key.seal(ONE, b"whsec_secret");
        assert_eq!(key.open(ONE, &sealed).unwrap(), b"whsec_secret");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_ne!(sealed, key.seal(ONE, b"whsec_secret"));
        assert_eq!(format!("{key:?}"), "MasterKey(redacted)");
    }

    #[test]
    fn another_key_another_owner_and_every_flipped_byte_fail() {
        let key = MasterKey::from_bytes([7; 32]);
        let sealed = key.seal(ONE, b"s");
        assert!(MasterKey::from_bytes([8; 32]).open(ONE, &sealed).is_err());
        assert!(key.open(b"endpoint 2", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(key.open(ONE, &flipped).is_err(), "byte {at}");
        }
        assert!(key.open(ONE, &sealed[..NONCE_BYTES - 1]).is_err());
    }

    #[test]
    fn the_other_key_opens_and_does_not_seal() {
        let [old, new] = [7, 8].map(|byte| MasterKey::from_bytes([byte; 32]));
        let both = new.clone().opening_also(old.clone());
        let sealed = old.seal(ONE, b"s");
        assert_eq!(both.open(ONE, &sealed).unwrap(), b"s");
        assert!(both.open(b"endpoint 2", &sealed).is_err());
        let again = both.seal(ONE, b"s");
        assert_eq!(new.open(ONE, &again).unwrap(), b"s");
        assert!(old.open(ONE, &again).is_err());
    }

    #[test]
    fn a_master_key_is_exactly_32_bytes_of_base64() {
        let key = MasterKey::from_bytes([7; 32]);
        let text = key.to_base64();
        let read = MasterKey::from_base64(text.expose_secret()).unwrap();
        assert_eq!(read.bytes, key.bytes);
        for bad in [
            "",
            "not base64!",
            &STANDARD.encode([0; 31]),
            &STANDARD.encode([0; 33]),
        ] {
            assert!(MasterKey::from_base64(bad).is_err(), "{bad}");
        }
    }
}
