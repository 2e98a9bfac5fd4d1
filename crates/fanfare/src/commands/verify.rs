use std::io::Read;
use std::time::Duration;

use anyhow::{Context, bail};
use dialect::{Received, Verified, VerifyError};
use model::Timestamp;
use secrecy::SecretString;

use crate::cli::Verify;
use crate::terminal;

/// Bytes of a body at most: more than any delivery has.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Verifies a captured request.
pub(crate) fn verify(verify: Verify) -> anyhow::Result<()> {
    let mut body = Vec::new();
    std::io::stdin()
        .take(BODY_BYTES_MAX)
        .read_to_end(&mut body)
        .context("reading the body from standard input")?;
    let now = verify.at.unwrap_or_else(ambient::now);
    match judge(&verify, &body, now) {
        Ok(verified) => {
            terminal::line(&format!(
                "verifies: {} {}",
                verified.event_type, verified.id
            ));
            Ok(())
        }
        Err(reason) => bail!("does not verify: {reason}"),
    }
}

/// What a receiver makes of the request. What is only too old now is judged as of its own time too:
/// that tells whether the secret is right.
fn judge(given: &Verify, body: &[u8], now: Timestamp) -> Result<Verified, String> {
    let secret = SecretString::from(given.secret.as_str());
    let header = |name: &str| {
        let mut headers = given.headers.iter();
        let found = headers.find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    let at = |now| {
        let received = Received {
            target: &given.target,
            url: None,
            headers: &header,
            body,
            now,
        };
        given.dialect.verify(&secret, &received)
    };
    let error = match at(now) {
        Ok(verified) => return Ok(verified),
        Err(error) => error,
    };
    let then = match error {
        VerifyError::TooOld(by_s) => now.minus(Duration::from_secs(by_s)),
        VerifyError::TooNew(by_s) => now.plus(Duration::from_secs(by_s)),
        _ => return Err(error.to_string()),
    };
    match at(then) {
        Ok(_) | Err(VerifyError::BadBody(_)) => Err(format!(
            "the signature is right, but {error}; with --at {} it is judged as of then",
            then.rfc3339(6)
        )),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use dialect::Dialect;

    use super::*;

    #[test]
    fn an_old_request_tells_whether_its_secret_is_right() {
        // The known answer of the specification's libraries.
        let given = |secret: &str| Verify {
            dialect: Dialect::Standard,
            secret: secret.to_owned(),
            target: "/".to_owned(),
            headers: [
                ("Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("Webhook-Timestamp", "1614265330"),
                (
                    "Webhook-Signature",
                    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                ),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            at: None,
        };
        let body = br#"{"test": 2432232314}"#;
        let judge = |secret: &str, now: i64| {
            let now = Timestamp::from_seconds(now);
            judge(&given(secret), body, now).unwrap_err()
        };
        let (right, wrong) = (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        );
        let old = 1_614_265_330 + 1_000;
        for now in [old, 1_614_265_330 - 1_000] {
            let told = judge(wrong, now);
            assert!(told.starts_with("signature mismatch"), "{told}");
        }
        assert!(judge(right, 1_614_265_330).contains("the body"), "no event");
        let told = judge(right, old);
        assert!(told.contains("signature is right"), "{told}");
    }
}
