use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use oci::{Disposition, InvalidSettings, Oci, OciError, OciSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::scripted::{Scripted, registry};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A registry that has a certificate for `name`, and says yes to everything. Answers its
    /// address.
    fn serve(&self, name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let (listener, config) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(config));
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let tls = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(tls, stream.unwrap());
                let mut request = [0; 4096];
                // Whoever does not trust it hangs up here.
                if stream.read(&mut request).is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(
                        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
                    );
                }
            }
        });
        format!("https://127.0.0.1:{port}")
    }
}

fn trusting(file: &Path) -> OciSettings {
    OciSettings { registry_cacert: Some(file.to_owned()), ..OciSettings::default() }
}

#[tokio::test]
async fn a_registry_is_trusted_by_who_signed_for_it_and_by_its_name() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (right, stranger) = (ours.serve("127.0.0.1"), theirs.serve("127.0.0.1"));
    let misnamed = ours.serve("elsewhere.example");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ours.0.pem()).unwrap();
    let settings = trusting(file.path());
    registry(&right, Some("user:hunter2"), &settings).check().await.unwrap();

    let plain = Scripted::start().await;
    let plain = format!("https://{}", plain.host());
    for (url, settings) in [
        (&right, &OciSettings::default()),
        (&stranger, &settings),
        (&misnamed, &settings),
        (&plain, &settings),
    ] {
        let error = registry(url, Some("user:hunter2"), settings).check().await.unwrap_err();
        assert!(matches!(error, OciError::Untrusted { .. }), "{url}: {error}");
        assert_eq!(error.disposition(), Disposition::Refuse);
    }
}

#[test]
fn a_file_without_certificates_is_a_mistake() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, told) in [
        ("", "there is no certificate in it"),
        ("-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n", ""),
    ] {
        std::fs::write(file.path(), text).unwrap();
        let error = Oci::new(&trusting(file.path())).unwrap_err();
        let InvalidSettings::Cacert { why, .. } = error else { panic!("{error}") };
        assert!(why.contains(told), "{why}");
    }
    let error = Oci::new(&trusting(Path::new("/nowhere"))).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
}
