use secrecy::SecretSlice;

use crate::{TenantId, Timestamp, delivery::names};

names!(
    /// What kind of key pair it is.
    KeyAlgorithm, "ed25519, rsa or ecdsa_p256", {
        Ed25519 = "ed25519",
        Rsa = "rsa",
        EcdsaP256 = "ecdsa_p256",
    }
);

/// A tenant's key pair, for receivers that hold a public key instead of a secret. It never
/// serializes: the store seals it.
#[derive(Clone, Debug)]
pub struct SigningKey {
    pub tenant: TenantId,
    pub algorithm: KeyAlgorithm,
    pub created_at: Timestamp,
    /// PKCS#8, in DER.
    pub private_key: SecretSlice<u8>,
}
