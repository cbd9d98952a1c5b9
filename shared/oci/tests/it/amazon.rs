//! ECR lends a password to whoever signs a question for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Provider, Secret};
use oci::{Account, Disposition, Oci, OciError, OciSettings, Registry};

use crate::scripted::{Reply, Scripted};

const KEYS: &str = "AKIDEXAMPLEEXAMPLE:wJalrXUtnFEMI/hunter2:session/hunter3==";

fn registry(server: &Scripted, secret: &str) -> Registry {
    let endpoint = Some(server.url("/"));
    let settings = OciSettings { ecr_endpoint: endpoint, ..OciSettings::default() };
    let host = "012345678901.dkr.ecr.eu-west-1.amazonaws.com";
    let account = Account::new(Provider::Ecr, host, None).unwrap();
    let secret = Secret::new(secret.to_owned());
    Oci::new(&settings).unwrap().registry(&account, Some(&secret)).unwrap()
}

fn lent(password: &str, expires_at: u64) -> Reply {
    let token = STANDARD.encode(format!("AWS:{password}"));
    let body = format!(
        "{{\"authorizationData\":[{{\"authorizationToken\":\"{token}\",\
         \"expiresAt\":{expires_at}.5,\"proxyEndpoint\":\"https://a\"}}]}}"
    );
    Reply::new(200, body)
}

const FAR: u64 = 4_000_000_000;

#[tokio::test]
async fn keys_are_exchanged_for_a_password_that_is_used_until_half_its_time_is_over() {
    let server = Scripted::start().await;
    server.on("POST /", [lent("one", FAR), lent("two", FAR)]);
    let registry = registry(&server, KEYS);
    for _ in 0..2 {
        let login = registry.login().await.unwrap().unwrap();
        assert_eq!((login.user.expose(), login.password.expose()), ("AWS", "one"));
        assert_eq!(login.expires_at.unwrap().unix_timestamp(), FAR as i64);
    }
    let asked = server.asked().clone();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].body, "{}");
    let header = |name| asked[0].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/x-amz-json-1.1");
    let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
    assert_eq!(header("x-amz-target"), target);
    assert_eq!(header("x-amz-security-token"), "session/hunter3==");
    let day = &header("x-amz-date")[..8];
    let scope = format!("Credential=AKIDEXAMPLEEXAMPLE/{day}/eu-west-1/ecr/aws4_request, ");
    let signed = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, ";
    let authorization = asked[0].authorization.clone().unwrap();
    assert!(authorization.contains(&(scope + signed)), "{authorization}");
}

#[tokio::test]
async fn a_password_whose_time_is_over_is_not_used_again() {
    let server = Scripted::start().await;
    server.on("POST /", [lent("one", 1_000_000_000), lent("two", FAR)]);
    let registry = registry(&server, KEYS);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let login = registry.login().await.unwrap().unwrap();
        seen.push(login.password.expose().to_owned());
    }
    assert_eq!(seen, ["one", "two", "two"]);
}

#[tokio::test]
async fn who_ask_at_one_moment_share_one_answer() {
    let server = Scripted::start().await;
    server.on("POST /", [lent("one", FAR)]);
    let registry = registry(&server, KEYS);
    let (one, other) = tokio::join!(registry.login(), registry.login());
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_amazon_answers_instead_has_a_name() {
    let server = Scripted::start().await;
    let host = || server.host().to_owned();
    let said = |kind: &str| format!("{{\"__type\":\"{kind}\",\"message\":\"hunter2\"}}");
    let retry = Disposition::Retry { after: None };
    for (reply, expected, disposition) in [
        (
            Reply::new(400, said("UnrecognizedClientException")),
            OciError::LoginRefused { registry: host() },
            Disposition::Refuse,
        ),
        (
            Reply::new(403, said("InvalidSignatureException")),
            OciError::LoginRefused { registry: host() },
            Disposition::Refuse,
        ),
        (
            Reply::new(400, said("ThrottlingException")),
            OciError::TooOften { registry: host(), after: None },
            retry,
        ),
        (
            Reply::new(503, ""),
            OciError::Broken { registry: host(), status: 503, after: None },
            retry,
        ),
        (
            Reply::new(302, "").with("location", "https://evil.example/"),
            OciError::Elsewhere { registry: host(), why: "a login is not sent on" },
            Disposition::Refuse,
        ),
        (
            Reply::new(200, "{}"),
            OciError::Unreadable {
                registry: host(),
                why: "it gave no token and no time until when it is good",
            },
            Disposition::Refuse,
        ),
    ] {
        server.on("POST /", [reply.clone()]);
        let error = registry(&server, KEYS).login().await.unwrap_err();
        assert_eq!(error, expected, "{reply:?}");
        assert_eq!(error.disposition(), disposition, "{reply:?}");
    }
}

#[tokio::test]
async fn a_password_that_is_there_already_is_not_asked_for() {
    let server = Scripted::start().await;
    let login = registry(&server, "AWS:hunter2").login().await.unwrap().unwrap();
    assert_eq!((login.password.expose(), login.expires_at), ("hunter2", None));
    assert!(server.asked().is_empty());
}

#[test]
fn keys_are_sent_to_no_address_that_is_not_safe() {
    for (address, safe) in [
        ("https://vpce-1.api.ecr.eu-west-1.vpce.amazonaws.com", true),
        ("http://127.0.0.1:4566", true),
        ("", true),
        ("http://ecr.internal", false),
        ("https://user:hunter2@ecr.internal", false),
        ("https://ecr.internal/path", false),
        ("https://ecr.internal?a=b", false),
        ("ecr.internal", false),
    ] {
        let settings =
            OciSettings { ecr_endpoint: Some(address.to_owned()), ..OciSettings::default() };
        let made = Oci::new(&settings);
        assert_eq!(made.is_ok(), safe, "{address}");
        assert!(!format!("{:?}", made.err()).contains("hunter2"));
    }
}
