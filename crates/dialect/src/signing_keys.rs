//! A tenant's key pairs, for dialects whose receivers hold a public key instead of a secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use ed25519_dalek::{Signer as _, SigningKey as Ed25519};
use model::{Endpoint, KeyAlgorithm, SigningKey, TenantId};
use p256::ecdsa::{DerSignature, SigningKey as EcdsaP256};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};

use crate::guid::guid_of;
use crate::hmac_sha256::hex;
use crate::public_key::WHPK;
use crate::rsa_sha256::Rsa;
use crate::{Dialect, RenderError};

/// The parsed private keys of one tenant.
#[derive(Default)]
pub struct SigningKeys {
    ed25519: Option<Ed25519>,
    rsa: Option<Rsa>,
    ecdsa_p256: Option<EcdsaP256>,
}

/// A private key that is not PKCS#8 of its algorithm.
#[derive(Debug, thiserror::Error)]
#[error("the {0} key of the tenant is damaged")]
pub struct SigningKeyError(pub KeyAlgorithm);

/// The half of a key pair that its tenant's receivers are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    /// 64 hexadecimal digits of an Ed25519 key; of others the base64 of their DER.
    pub public_key: String,
    /// SubjectPublicKeyInfo.
    pub pem: String,
    /// As Standard Webhooks writes an Ed25519 key: `whpk_` and base64.
    pub whpk: Option<String>,
}

impl Dialect {
    /// Which of the tenant's key pairs sign for this endpoint: they have to be there.
    pub fn signed_with(self, endpoint: &Endpoint) -> Vec<KeyAlgorithm> {
        (self.profile().signed_with)(endpoint)
    }
}

impl SigningKeys {
    /// Parses the keys of one tenant.
    pub fn read(keys: &[SigningKey]) -> Result<Self, SigningKeyError> {
        let mut read = Self::default();
        for key in keys {
            let der = key.private_key.expose_secret();
            let damaged = || SigningKeyError(key.algorithm);
            match key.algorithm {
                KeyAlgorithm::Ed25519 => {
                    let parsed = Ed25519::from_pkcs8_der(der).map_err(|_| damaged())?;
                    read.ed25519 = Some(parsed);
                }
                KeyAlgorithm::Rsa => read.rsa = Some(Rsa::read(der).ok_or_else(damaged)?),
                KeyAlgorithm::EcdsaP256 => {
                    let parsed = EcdsaP256::from_pkcs8_der(der).map_err(|_| damaged())?;
                    read.ecdsa_p256 = Some(parsed);
                }
            }
        }
        Ok(read)
    }

    /// Makes a private key, in PKCS#8 DER. An RSA key takes seconds.
    pub fn generate(algorithm: KeyAlgorithm, random: [u8; 32]) -> SecretSlice<u8> {
        let der = match algorithm {
            KeyAlgorithm::Ed25519 => {
                let key = Ed25519::from_bytes(&random);
                let der = key.to_pkcs8_der().expect("a key in memory has a DER");
                der.as_bytes().to_vec()
            }
            KeyAlgorithm::Rsa => Rsa::generate(random),
            KeyAlgorithm::EcdsaP256 => {
                let der = p256_scalar(random).to_pkcs8_der();
                der.expect("a key in memory has a DER").as_bytes().to_vec()
            }
        };
        der.into()
    }

    /// What may be known of a tenant's key.
    pub fn publish(key: &SigningKey) -> Result<PublishedKey, SigningKeyError> {
        let keys = Self::read(std::slice::from_ref(key))?;
        let expected = "a public key in memory has a DER";
        if let Some(key) = &keys.ed25519 {
            let key = key.verifying_key();
            return Ok(PublishedKey {
                public_key: hex(key.as_bytes()),
                pem: key.to_public_key_pem(LineEnding::LF).expect(expected),
                whpk: Some(format!("{WHPK}{}", BASE64.encode(key.as_bytes()))),
            });
        }
        let (der, pem) = match (&keys.rsa, &keys.ecdsa_p256) {
            (Some(rsa), _) => rsa.publish(),
            (None, Some(ecdsa)) => {
                let key = ecdsa.verifying_key();
                let der = key.to_public_key_der().expect(expected).into_vec();
                (der, key.to_public_key_pem(LineEnding::LF).expect(expected))
            }
            (None, None) => return Err(SigningKeyError(key.algorithm)),
        };
        Ok(PublishedKey {
            public_key: BASE64.encode(der),
            pem,
            whpk: None,
        })
    }

    /// What signatures name a tenant's keys by, unless an endpoint's `account_id` says otherwise.
    pub fn id(tenant: &TenantId) -> String {
        let digest = Sha256::digest([b"account:", tenant.as_bytes()].concat());
        guid_of(&digest)
    }

    pub(crate) fn ed25519(&self, message: &[u8]) -> Result<[u8; 64], RenderError> {
        let key = self.ed25519.as_ref();
        let key = key.ok_or(RenderError::NoSigningKey(KeyAlgorithm::Ed25519.as_str()))?;
        Ok(key.sign(message).to_bytes())
    }

    pub(crate) fn rsa(&self) -> Result<&Rsa, RenderError> {
        let missing = RenderError::NoSigningKey(KeyAlgorithm::Rsa.as_str());
        self.rsa.as_ref().ok_or(missing)
    }

    /// ASN.1 DER, deterministic (RFC 6979).
    pub(crate) fn ecdsa_p256(&self, message: &[u8]) -> Result<Vec<u8>, RenderError> {
        let key = self.ecdsa_p256.as_ref();
        let key = key.ok_or(RenderError::NoSigningKey(KeyAlgorithm::EcdsaP256.as_str()))?;
        let signature: DerSignature = p256::ecdsa::signature::Signer::sign(key, message);
        Ok(signature.as_bytes().to_vec())
    }
}

/// Nearly every 32 bytes are a private key; of those that are not, the digest is tried.
fn p256_scalar(random: [u8; 32]) -> EcdsaP256 {
    EcdsaP256::from_slice(&random).unwrap_or_else(|_| p256_scalar(Sha256::digest(random).into()))
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(redacted)")
    }
}
