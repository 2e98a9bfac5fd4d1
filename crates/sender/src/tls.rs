use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::SenderError;
use crate::certificates::{Certificates, Noting};

/// Certificates are checked against the operating system's roots and the extra ones.
pub(crate) fn client_config(
    extra_roots_pem: Option<&[u8]>,
    certificates: Certificates,
) -> Result<ClientConfig, SenderError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    for certificate in CertificateDer::pem_slice_iter(extra_roots_pem.unwrap_or_default()) {
        let certificate = certificate.map_err(SenderError::ExtraRoots)?;
        roots.add(certificate).map_err(SenderError::UnusableRoot)?;
    }
    if roots.is_empty() {
        tracing::warn!(
            errors = ?native.errors,
            "no root certificates found: every https target will fail until ca-certificates is installed"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(SenderError::Tls)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let config = match verifier {
        // Called dangerous, since a verifier of one's own could trust anybody: this one asks the
        // usual one.
        Ok(verifier) => config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Noting {
                verifier,
                certificates,
            })),
        // Without roots nobody is trusted.
        Err(_) => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(config.with_no_client_auth())
}
