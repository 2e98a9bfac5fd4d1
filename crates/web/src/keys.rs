use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::KeyHash;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// What API keys start with, so that people and secret scanners recognise them.
pub const KEY_PREFIX: &str = "fk_";

/// Makes an API key of 32 random bytes: the key, to be shown once, and the hash, to be kept.
pub fn new_key(random: [u8; 32]) -> (SecretString, KeyHash) {
    let key = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hash = hash_key(&key);
    (key.into(), hash)
}

/// What is kept of a key. Any text can be a key, so that an installation can bring its own.
pub fn hash_key(key: &str) -> KeyHash {
    KeyHash(Sha256::digest(key.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_new_key_is_found_again_by_its_hash() {
        let (key, hash) = new_key([7; 32]);
        assert!(key.expose_secret().starts_with("fk_"));
        assert_eq!(hash_key(key.expose_secret()), hash);
        assert_ne!(new_key([8; 32]).1, hash);
    }
}
