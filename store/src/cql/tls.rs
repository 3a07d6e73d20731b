//! Encryption of connections: files to a client's configuration. The driver names servers by address alone.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::options::CqlTls;
use crate::StoreError;

/// The configuration of connections.
pub(super) fn configuration(tls: &CqlTls) -> Result<Arc<ClientConfig>, StoreError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.ca", &tls.ca)? {
        roots.add(certificate).map_err(|error| unusable("tls.ca", &tls.ca, &error))?;
    }
    let roots = Arc::new(roots);
    let provider = Arc::new(ring::default_provider());
    let signed = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .map_err(|error| unusable("tls.ca", &tls.ca, &error))?;
    let verifier: Arc<dyn ServerCertVerifier> =
        if tls.verify_server_name { signed } else { Arc::new(AnyName(signed)) };
    let builder = with_provider(provider)
        .map_err(|error| unusable("tls", &tls.ca, &error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let configuration = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("tls.certificate", certificate)?;
            let private =
                PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("tls.key", key, &error))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| unusable("tls.key", key, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(configuration))
}

fn with_provider(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn certificates(setting: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let read = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(setting, file, &error))?;
    if read.is_empty() {
        return Err(unusable(setting, file, &"it holds no certificate in PEM"));
    }
    Ok(read)
}

fn unusable(setting: &'static str, file: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Setting { setting, what: format!("{}: {error}", file.display()) }
}

/// Believes every certificate that an authority signed, whatever name it bears.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Names are compared last, after the signatures, the dates and the use.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_certificates_name_the_setting_and_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let tls = CqlTls { ca: file.clone(), certificate: None, key: None, verify_server_name: true };
        for content in [None, Some("")] {
            if let Some(content) = content {
                std::fs::write(&file, content).expect("a file");
            }
            let refused = configuration(&tls).expect_err("no certificate");
            assert!(
                refused.to_string().contains("tls.ca") && refused.to_string().contains("ca.pem"),
                "{refused}"
            );
        }
    }
}
