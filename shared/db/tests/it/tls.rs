use std::io::Write;

use db::{Db, DbError, DbSettings, Statement};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testkit::{Cluster, ClusterOptions};

static ENCRYPTED: Statement = Statement {
    name: "test.encrypted",
    sql: "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
    types: &[],
};

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    /// A server with a certificate for `name`.
    fn server(&self, name: &str) -> Cluster {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Cluster::start(&ClusterOptions {
            fsync: false,
            settings: vec![("ssl".to_owned(), "on".to_owned())],
            files: vec![
                ("server.crt".to_owned(), certificate.pem()),
                ("server.key".to_owned(), key.serialize_pem()),
            ],
        })
        .unwrap()
    }
}

#[tokio::test]
async fn sslmode_decides_who_is_trusted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ours_file = format!("sslrootcert={}", ours.file.path().display());
    let theirs_file = format!("sslrootcert={}", theirs.file.path().display());
    let right = ours.server("127.0.0.1");
    let misnamed = ours.server("elsewhere.example");
    for (server, query, encrypted) in [
        (&right, "sslmode=disable".to_owned(), Some(false)),
        (&right, String::new(), Some(true)),
        (&right, "sslmode=require".to_owned(), Some(true)),
        // With SCRAM the password is bound to this very certificate.
        (&right, "sslmode=require&channel_binding=require".to_owned(), Some(true)),
        (&right, format!("sslmode=verify-full&{ours_file}"), Some(true)),
        (&right, format!("sslmode=verify-ca&{ours_file}"), Some(true)),
        (&right, format!("sslmode=require&{theirs_file}"), None),
        (&right, format!("sslmode=verify-ca&{theirs_file}"), None),
        (&right, format!("sslmode=verify-full&{theirs_file}"), None),
        (&right, "sslmode=verify-full".to_owned(), None),
        (&misnamed, "sslmode=require".to_owned(), Some(true)),
        (&misnamed, format!("sslmode=verify-ca&{ours_file}"), Some(true)),
        (&misnamed, format!("sslmode=verify-full&{ours_file}"), None),
    ] {
        let url = format!("{}?{query}", server.url("postgres"));
        let db = Db::connect(&DbSettings::at(&url)).unwrap();
        let told = db.query_one(&ENCRYPTED, &[]).await.map(|row| row.get::<bool>(0));
        match encrypted {
            Some(encrypted) => assert_eq!(told.unwrap(), encrypted, "{query}"),
            None => assert!(matches!(told, Err(DbError::Tls { .. })), "{query}: {told:?}"),
        }
    }
}
