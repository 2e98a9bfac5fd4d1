use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::SenderError;

/// Certificates are checked against the operating system's roots and the extra ones.
pub(crate) fn client_config(extra_roots_pem: Option<&[u8]>) -> Result<ClientConfig, SenderError> {
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
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SenderError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
