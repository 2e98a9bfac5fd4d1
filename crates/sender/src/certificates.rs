use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// A certificate that ends within this time is remembered.
pub const EXPIRES_SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Hosts whose certificate is remembered, at most.
pub const EXPIRING_HOSTS_MAX: usize = 1_000;

/// The certificates that end soon, or did when first noted, by host, as seen when last connected.
/// Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Certificates {
    expiring: Arc<Mutex<HashMap<String, Timestamp>>>,
}

impl Certificates {
    pub(crate) fn expiring(&self) -> HashMap<String, Timestamp> {
        self.expiring.lock().clone()
    }

    fn note(&self, host: &str, ends_at: Timestamp, now: Timestamp) {
        let mut expiring = self.expiring.lock();
        let soon = now.plus(EXPIRES_SOON);
        // One that was renewed stays, with its new date: other processes may know the old one alone.
        if let Some(known) = expiring.get_mut(host) {
            *known = ends_at;
        } else if ends_at <= soon {
            if expiring.len() >= EXPIRING_HOSTS_MAX {
                expiring.retain(|_, ends_at| *ends_at <= soon);
            }
            if expiring.len() < EXPIRING_HOSTS_MAX {
                expiring.insert(host.to_owned(), ends_at);
            }
        }
    }
}

/// Leaves every decision to another verifier, and notes when what it has seen ends.
#[derive(Debug)]
pub(crate) struct Noting {
    pub(crate) verifier: Arc<dyn ServerCertVerifier>,
    pub(crate) certificates: Certificates,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        // One that is not trusted says nothing, unless all that is wrong with it is its age.
        let known = match &verified {
            Ok(_) => true,
            Err(rustls::Error::InvalidCertificate(reason)) => is_expired(reason),
            Err(_) => false,
        };
        if known && let Some(ends_at) = ends_at(end_entity) {
            let host = server_name.to_str();
            self.certificates.note(&host, ends_at, ambient::now());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

const fn is_expired(reason: &rustls::CertificateError) -> bool {
    use rustls::CertificateError::{Expired, ExpiredContext};
    matches!(reason, Expired | ExpiredContext { .. })
}

fn ends_at(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let ends = certificate.tbs_certificate.validity.not_after;
    let seconds = i64::try_from(ends.to_unix_duration().as_secs()).ok()?;
    Some(Timestamp::from_seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_certificate_is_remembered_from_thirty_days_before_its_end_and_then_its_successor() {
        let certificates = Certificates::default();
        let now = Timestamp::from_seconds(1_776_254_400);
        certificates.note("far.example", now.plus(DAY * 31), now);
        assert!(certificates.expiring().is_empty());
        certificates.note("near.example", now.plus(DAY * 29), now);
        certificates.note("over.example", now.minus(DAY), now);
        assert_eq!(certificates.expiring()["near.example"], now.plus(DAY * 29));
        certificates.note("near.example", now.plus(DAY * 89), now);
        assert_eq!(certificates.expiring()["near.example"], now.plus(DAY * 89));
        assert_eq!(certificates.expiring().len(), 2);
    }

    #[test]
    fn no_more_hosts_are_remembered_than_the_limit() {
        let certificates = Certificates::default();
        let now = Timestamp::from_seconds(1_776_254_400);
        for n in 0..=EXPIRING_HOSTS_MAX {
            certificates.note(&format!("{n}.example"), now, now);
        }
        assert_eq!(certificates.expiring().len(), EXPIRING_HOSTS_MAX);
        certificates.note("0.example", now.plus(DAY), now);
        assert_eq!(certificates.expiring()["0.example"], now.plus(DAY));
        certificates.note("0.example", now.plus(DAY * 89), now);
        certificates.note("late.example", now, now);
        let known = certificates.expiring();
        assert_eq!(known.len(), EXPIRING_HOSTS_MAX);
        assert!(!known.contains_key("0.example"), "a renewed one makes room");
    }
}
