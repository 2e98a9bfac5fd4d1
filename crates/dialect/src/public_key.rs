//! The public keys that receivers verify with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use ed25519_dalek::{Signature, VerifyingKey as Ed25519};
use model::from_hex;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{DerSignature, VerifyingKey as EcdsaP256};
use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey as _;

use crate::rsa_sha256::{Padding, verifies};

/// Before a public key of Standard Webhooks.
pub(crate) const WHPK: &str = "whpk_";

pub(crate) enum PublicKey {
    Ed25519(Ed25519),
    Rsa(RsaPublicKey),
    EcdsaP256(EcdsaP256),
}

const EXPECTED: &str =
    "must be 64 lower-case hexadecimal digits, whpk_ and base64, or a public key in PEM";

impl PublicKey {
    /// Reads 64 hexadecimal digits, `whpk_…` or PEM.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let bytes = match text.strip_prefix(WHPK) {
            Some(encoded) => {
                let decoded = BASE64.decode(encoded).map_err(|_| EXPECTED)?;
                Some(decoded.try_into().map_err(|_| EXPECTED)?)
            }
            // Another spelling of the digits is not the key that was published.
            None => from_hex(text.as_bytes()),
        };
        if let Some(bytes) = bytes {
            let key = Ed25519::from_bytes(&bytes).map_err(|_| EXPECTED)?;
            return Ok(Self::Ed25519(key));
        }
        let ed25519 = Ed25519::from_public_key_pem(text).map(Self::Ed25519);
        ed25519
            .ok()
            .or_else(|| {
                EcdsaP256::from_public_key_pem(text)
                    .ok()
                    .map(Self::EcdsaP256)
            })
            .or_else(|| RsaPublicKey::from_public_key_pem(text).ok().map(Self::Rsa))
            .ok_or(EXPECTED)
    }

    /// Whether the signature is that of the message; `padding` is that of RSA keys.
    pub(crate) fn verifies(&self, padding: Padding, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::Rsa(key) => verifies(key, padding, message, signature),
            Self::EcdsaP256(key) => DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}

/// Whether it is any public key.
pub(crate) fn check(text: &str) -> Result<(), &'static str> {
    PublicKey::read(text).map(drop)
}

/// Whether it is an Ed25519 key.
pub(crate) fn check_ed25519(text: &str) -> Result<(), &'static str> {
    match PublicKey::read(text)? {
        PublicKey::Ed25519(_) => Ok(()),
        PublicKey::Rsa(_) | PublicKey::EcdsaP256(_) => Err("must be an Ed25519 key, as whpk_…"),
    }
}
