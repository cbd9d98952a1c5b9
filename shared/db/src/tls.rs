use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Whose certificate we accept; the file is `sslrootcert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Encrypted, but possibly with the wrong server: what `prefer` and `require` mean in libpq.
    Anybody,
    /// A server that one of the root certificates vouches for, whatever its name.
    Chain(Option<PathBuf>),
    /// The same, and the name is the one we asked for.
    Full(Option<PathBuf>),
}

#[derive(Debug, thiserror::Error)]
pub enum InvalidTls {
    #[error("could not read the root certificates in {}", .path.display())]
    RootCertificates { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("could not set up TLS")]
    Setup(#[source] Error),
}

/// `direct` is TLS from the first byte, which Postgres 17 offers and which must be named.
pub(crate) fn connector(trust: &Trust, direct: bool) -> Result<MakeRustlsConnect, InvalidTls> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(InvalidTls::Setup)?;
    let mut config = match trust {
        Trust::Full(file) => {
            builder.with_root_certificates(roots(file.as_deref())?).with_no_client_auth()
        }
        Trust::Chain(_) | Trust::Anybody => {
            let verifier = Lenient { chain: chain(trust, &provider)?, provider };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth()
        }
    };
    if direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

fn chain(
    trust: &Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, InvalidTls> {
    let Trust::Chain(file) = trust else { return Ok(None) };
    let roots = Arc::new(roots(file.as_deref())?);
    WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map(Some)
        .map_err(|error| InvalidTls::Setup(Error::General(error.to_string())))
}

/// Read only when somebody asks for verification: they take megabytes.
fn roots(file: Option<&Path>) -> Result<RootCertStore, InvalidTls> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            // A container without ca-certificates.
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        return Ok(roots);
    };
    let failed = |source| InvalidTls::RootCertificates { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(error.into()))?;
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(failed(io::Error::other("there is no certificate in it").into()));
    }
    Ok(roots)
}

/// Accepts any name, and without a `chain` any certificate; the handshake's signatures are checked
/// all the same.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is checked last, so the chain is good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
