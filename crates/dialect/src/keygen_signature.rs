//! Keygen's signature: HTTP Signatures (draft-cavage-http-signatures-08) over the request line, host,
//! date and digest, with a key pair of the account.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{KeyAlgorithm, Timestamp};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::public_key::PublicKey;
use crate::request::{Received, RenderError, VerifyError};
use crate::rsa_sha256::Padding;
use crate::{SigningKeys, hmac_sha256};

pub(crate) const SIGNATURE: &str = "keygen-signature";
const HEADERS: &str = "(request-target) host date digest";

/// How requests are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Algorithm {
    #[default]
    Ed25519,
    RsaPssSha256,
    RsaSha256,
    EcdsaP256,
}

impl Algorithm {
    const ALL: [Self; 4] = [
        Self::Ed25519,
        Self::RsaPssSha256,
        Self::RsaSha256,
        Self::EcdsaP256,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::RsaPssSha256 => "rsa-pss-sha256",
            Self::RsaSha256 => "rsa-sha256",
            Self::EcdsaP256 => "ecdsa-p256",
        }
    }

    pub(crate) const fn key(self) -> KeyAlgorithm {
        match self {
            Self::Ed25519 => KeyAlgorithm::Ed25519,
            Self::RsaPssSha256 | Self::RsaSha256 => KeyAlgorithm::Rsa,
            Self::EcdsaP256 => KeyAlgorithm::EcdsaP256,
        }
    }

    fn sign(self, keys: &SigningKeys, message: &[u8]) -> Result<Vec<u8>, RenderError> {
        match self {
            Self::Ed25519 => Ok(keys.ed25519(message)?.to_vec()),
            Self::RsaPssSha256 => Ok(keys.rsa()?.sign(Padding::Pss, message)),
            Self::RsaSha256 => Ok(keys.rsa()?.sign(Padding::Pkcs1, message)),
            Self::EcdsaP256 => keys.ecdsa_p256(message),
        }
    }

    /// Whether the signature is that of the message, by a key of this algorithm.
    fn verifies(self, key: &PublicKey, message: &str, signature: &[u8]) -> bool {
        let message = message.as_bytes();
        match (self, key) {
            (Self::Ed25519, PublicKey::Ed25519(_))
            | (Self::RsaPssSha256, PublicKey::Rsa(_))
            | (Self::EcdsaP256, PublicKey::EcdsaP256(_)) => {
                key.verifies(Padding::Pss, message, signature)
            }
            (Self::RsaSha256, PublicKey::Rsa(_)) => {
                key.verifies(Padding::Pkcs1, message, signature)
            }
            (_, PublicKey::Ed25519(_) | PublicKey::Rsa(_) | PublicKey::EcdsaP256(_)) => false,
        }
    }
}

/// What a request is signed with and for.
pub(crate) struct Signing<'a> {
    pub(crate) keys: &'a SigningKeys,
    pub(crate) algorithm: Algorithm,
    pub(crate) account: &'a str,
    pub(crate) url: &'a Url,
    /// Whether the host is signed without its port, although it is sent with it.
    pub(crate) strips_port: bool,
    pub(crate) now: Timestamp,
}

impl Signing<'_> {
    /// The headers that date, digest and sign a body; the first two also under names that no proxy
    /// rewrites.
    pub(crate) fn headers(&self, body: &[u8]) -> Result<[(&'static str, String); 5], RenderError> {
        let (date, digest) = (http_date(self.now), digest(body));
        let message = message(&target(self.url), &self.host(), &date, &digest);
        let signature = self.algorithm.sign(self.keys, message.as_bytes())?;
        let signature = format!(
            r#"keyid="{}", algorithm="{}", signature="{}", headers="{HEADERS}""#,
            self.account,
            self.algorithm.as_str(),
            BASE64.encode(signature),
        );
        Ok([
            ("date", date.clone()),
            ("digest", digest.clone()),
            ("keygen-date", date),
            ("keygen-digest", digest),
            (SIGNATURE, signature),
        ])
    }

    fn host(&self) -> String {
        let host = host_of(self.url);
        match self.strips_port {
            true => without_port(&host).to_owned(),
            false => host,
        }
    }
}

/// The header `host` as senders write it: with a port that is not the scheme's.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

fn message(target: &str, host: &str, date: &str, digest: &str) -> String {
    format!("(request-target): post {target}\nhost: {host}\ndate: {date}\ndigest: {digest}")
}

fn digest(body: &[u8]) -> String {
    format!("sha-256={}", BASE64.encode(Sha256::digest(body)))
}

/// IMF-fixdate (RFC 9110, section 5.6.7).
fn http_date(time: Timestamp) -> String {
    let seconds = u64::try_from(time.as_seconds()).unwrap_or(0);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn read_date(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::EPOCH.plus(since_epoch))
}

/// The header `keygen-signature`, taken apart.
struct Given<'a> {
    account: &'a str,
    algorithm: Algorithm,
    signature: Vec<u8>,
}

impl<'a> Given<'a> {
    fn read(header: &'a str) -> Option<Self> {
        let parameters: Vec<_> = header
            .split(", ")
            .map(|parameter| parameter.strip_suffix('"')?.split_once("=\""))
            .collect::<Option<_>>()?;
        let get = |name: &str| {
            let found = parameters.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| *value)
        };
        if get("headers")? != HEADERS || parameters.len() != 4 {
            return None;
        }
        let algorithm = get("algorithm")?;
        let mut algorithms = Algorithm::ALL.into_iter();
        Some(Self {
            account: get("keyid")?,
            algorithm: algorithms.find(|it| it.as_str() == algorithm)?,
            signature: BASE64.decode(get("signature")?).ok()?,
        })
    }
}

/// Checks signature, digest and age; answers the account that signed.
///
/// Proxies rewrite `date` and `digest`: Keygen's copies count where they are. They rewrite host and
/// path too: what the sender was told counts as well. Keygen signs the host without its port, other
/// senders with it.
pub(crate) fn verify<'a>(received: &Received<'a>, key: &str) -> Result<&'a str, VerifyError> {
    let given = received.header(SIGNATURE)?;
    let given = Given::read(given).ok_or(VerifyError::BadHeader {
        header: SIGNATURE,
        expected: "keyid, algorithm, signature and headers, each in quotes",
    })?;
    let own_or = |own: &str, plain| match (received.headers)(own) {
        Some(value) => Ok(value),
        None => received.header(plain),
    };
    let date = own_or("keygen-date", "date")?;
    let given_digest = own_or("keygen-digest", "digest")?;
    let host = received.header("host")?;
    let sent_at = read_date(date).ok_or(VerifyError::BadHeader {
        header: "date",
        expected: "a date such as Wed, 15 Apr 2026 12:00:00 GMT",
    })?;
    received.check_age(sent_at)?;
    let key = PublicKey::read(key).map_err(VerifyError::BadSecret)?;
    let is_signed = |target: &str, host: &str| {
        [host, without_port(host)].into_iter().any(|host| {
            let message = message(target, host, date, given_digest);
            given.algorithm.verifies(&key, &message, &given.signature)
        })
    };
    let is_signed = is_signed(received.target, host)
        || received
            .url
            .is_some_and(|url| is_signed(&target(url), &host_of(url)));
    if is_signed && hmac_sha256::same(&digest(received.body), given_digest) {
        Ok(given.account)
    } else {
        Err(VerifyError::SignatureMismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A delivery that Keygen made in production, as its Go library's tests have it.
    #[test]
    fn a_real_delivery_verifies() {
        let key = "e8601e48b69383ba520245fd07971e983d06d22c4257cfd82304601479cee788";
        let key = PublicKey::read(key).unwrap();
        let signature = "oov4eX9ZC30U6l/OOOTH/IQF3NAlALlgBWQdh0LdG6WNtHbR95SoYJf2wOGMUGp2tYzNdSwlzPyepWozkKtXBg==";
        let signature = BASE64.decode(signature).unwrap();
        let message = message(
            "/webhooks",
            "5173-2600-1700-3e90-a450-533-a11e-339-f87b.ngrok.io",
            "Mon, 06 Jun 2022 16:13:37 GMT",
            "sha-256=9QceiZktviddaBO8zKZe18/L2kZSFwpGDcmvFkvIH3k=",
        );
        assert!(Algorithm::Ed25519.verifies(&key, &message, &signature));
        assert!(!Algorithm::EcdsaP256.verifies(&key, &message, &signature));
        let another = message.replace("post", "put");
        assert!(!Algorithm::Ed25519.verifies(&key, &another, &signature));
    }

    #[test]
    fn the_host_is_signed_as_it_is_sent() {
        let keys = SigningKeys::default();
        for (url, strips_port, target_line, host) in [
            ("https://a.example", false, "/", "a.example"),
            (
                "https://a.example:443/p?q=%20",
                false,
                "/p?q=%20",
                "a.example",
            ),
            ("https://a.example:8443/p", false, "/p", "a.example:8443"),
            ("https://a.example:8443/p", true, "/p", "a.example"),
            ("https://[2001:db8::1]:81/", false, "/", "[2001:db8::1]:81"),
        ] {
            let url: Url = url.parse().unwrap();
            let signing = Signing {
                keys: &keys,
                algorithm: Algorithm::Ed25519,
                account: "",
                url: &url,
                strips_port,
                now: Timestamp::EPOCH,
            };
            assert_eq!(
                (target(&url).as_str(), signing.host().as_str()),
                (target_line, host)
            );
        }
    }

    #[test]
    fn dates_are_written_and_read() {
        let time = Timestamp::from_seconds(1_776_254_400);
        assert_eq!(http_date(time), "Wed, 15 Apr 2026 12:00:00 GMT");
        assert_eq!(read_date(&http_date(time)), Some(time));
        assert_eq!(read_date("yesterday"), None);
    }
}
