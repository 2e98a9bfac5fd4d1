//! The public keys that receivers verify with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use ed25519_dalek::{Signature, VerifyingKey as Ed25519};
use model::from_hex;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{DerSignature, VerifyingKey as EcdsaP256};
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
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
    "must be 64 hexadecimal digits, whpk_ and base64, or a public key in PEM or in base64 of DER";

impl PublicKey {
    /// Reads 64 hexadecimal digits, `whpk_…`, PEM, or the base64 of DER (RFC 5280, section 4.1).
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let bytes = match text.strip_prefix(WHPK) {
            Some(encoded) => {
                let decoded = BASE64.decode(encoded).map_err(|_| EXPECTED)?;
                Some(decoded.try_into().map_err(|_| EXPECTED)?)
            }
            None => from_hex(text.to_ascii_lowercase().as_bytes()),
        };
        if let Some(bytes) = bytes {
            let key = Ed25519::from_bytes(&bytes).map_err(|_| EXPECTED)?;
            return Ok(Self::Ed25519(key));
        }
        let key = match BASE64.decode(text) {
            Ok(der) => Self::from_der(&der),
            Err(_) => Self::from_pem(text),
        };
        key.ok_or(EXPECTED)
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let ed25519 = Ed25519::from_public_key_der(der).ok();
        let ecdsa = || EcdsaP256::from_public_key_der(der).ok();
        let rsa = || RsaPublicKey::from_public_key_der(der).ok();
        ed25519
            .map(Self::Ed25519)
            .or_else(|| ecdsa().map(Self::EcdsaP256))
            .or_else(|| rsa().map(Self::Rsa))
    }

    fn from_pem(pem: &str) -> Option<Self> {
        let ed25519 = Ed25519::from_public_key_pem(pem).ok();
        let ecdsa = || EcdsaP256::from_public_key_pem(pem).ok();
        let rsa = || RsaPublicKey::from_public_key_pem(pem).ok();
        let pkcs1 = || RsaPublicKey::from_pkcs1_pem(pem).ok();
        ed25519
            .map(Self::Ed25519)
            .or_else(|| ecdsa().map(Self::EcdsaP256))
            .or_else(|| rsa().or_else(pkcs1).map(Self::Rsa))
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

/// Whether it is an Ed25519 key as Standard Webhooks writes it: its secrets may look like others.
pub(crate) fn check_ed25519(text: &str) -> Result<(), &'static str> {
    match PublicKey::read(text)? {
        PublicKey::Ed25519(_) if text.starts_with(WHPK) => Ok(()),
        _ => Err("must be an Ed25519 key, as whpk_…"),
    }
}
