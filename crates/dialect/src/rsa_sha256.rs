//! RSA with SHA-256 (RFC 8017), as PKCS#1 v1.5 and as PSS with the longest salt.

use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::rand_core::{CryptoRng, Error, RngCore, impls};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey, RsaPublicKey};
use sha2::{Digest as _, Sha256};

use crate::hmac_sha256::code;

/// Bits of the keys we make.
const KEY_BITS: usize = 2048;

/// A private key.
pub(crate) struct Rsa {
    key: RsaPrivateKey,
    /// Where salts come from.
    salting: [u8; 32],
}

/// How a signature is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    Pkcs1,
    Pss,
}

const IN_MEMORY: &str = "a key in memory has a DER";

impl Rsa {
    pub(crate) fn read(pkcs8: &[u8]) -> Option<Self> {
        let key = RsaPrivateKey::from_pkcs8_der(pkcs8).ok()?;
        let salting = code(pkcs8, &[b"salt"]);
        Some(Self { key, salting })
    }

    /// Makes a key, in PKCS#8 DER.
    pub(crate) fn generate(random: [u8; 32]) -> Vec<u8> {
        let key = RsaPrivateKey::new(&mut Stream::new(random), KEY_BITS);
        let der = key.expect("there are primes enough").to_pkcs8_der();
        der.expect(IN_MEMORY).as_bytes().to_vec()
    }

    /// DER and PEM of the public key.
    pub(crate) fn publish(&self) -> (Vec<u8>, String) {
        let key = self.key.to_public_key();
        let der = key.to_public_key_der().expect(IN_MEMORY).into_vec();
        (der, key.to_public_key_pem(LineEnding::LF).expect(IN_MEMORY))
    }

    /// The same message always has the same signature: salt and blinding follow from the key and
    /// the message.
    pub(crate) fn sign(&self, padding: Padding, message: &[u8]) -> Vec<u8> {
        let digest = Sha256::digest(message);
        let mut stream = Stream::new(code(&self.salting, &[&digest]));
        let signature = match padding {
            Padding::Pkcs1 => {
                let scheme = Pkcs1v15Sign::new::<rsa::sha2::Sha256>();
                self.key.sign_with_rng(&mut stream, scheme, &digest)
            }
            Padding::Pss => {
                let salt = salt_bytes(self.key.size());
                let scheme = Pss::new_blinded_with_salt::<rsa::sha2::Sha256>(salt);
                self.key.sign_with_rng(&mut stream, scheme, &digest)
            }
        };
        signature.expect("a key of 2048 bits signs a digest of 256")
    }
}

/// Whether the signature is that of the message.
pub(crate) fn verifies(
    key: &RsaPublicKey,
    padding: Padding,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let digest = Sha256::digest(message);
    let verified = match padding {
        Padding::Pkcs1 => {
            let scheme = Pkcs1v15Sign::new::<rsa::sha2::Sha256>();
            key.verify(scheme, &digest, signature)
        }
        Padding::Pss => {
            let scheme = Pss::new_with_salt::<rsa::sha2::Sha256>(salt_bytes(key.size()));
            key.verify(scheme, &digest, signature)
        }
    };
    verified.is_ok()
}

/// The longest salt that fits (RFC 8017, section 9.1.1): 222 bytes in a key of 2048 bits.
const fn salt_bytes(key_bytes: usize) -> usize {
    key_bytes.saturating_sub(32 + 2)
}

/// Pseudo-random bytes that follow from a key: its HMACs of 0, 1, 2 …
struct Stream {
    key: [u8; 32],
    blocks: u64,
}

impl Stream {
    const fn new(key: [u8; 32]) -> Self {
        Self { key, blocks: 0 }
    }
}

impl RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = code(&self.key, &[&self.blocks.to_be_bytes()]);
            self.blocks += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Stream {}
