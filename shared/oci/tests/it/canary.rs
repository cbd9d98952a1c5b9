//! Credentials are planted everywhere, everything goes wrong that can, servers repeat what they were
//! sent, and then the credentials are searched for in all that was said.

use std::error::Error;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use miette::Diagnostic;
use model::{Provider, Secret};
use oci::{Account, Oci, OciSettings};
use tracing_subscriber::filter::LevelFilter;

use crate::scripted::{MANIFEST, Reply, Scripted, tag};

const USER: &str = "canary-user-41c7-0123456789";
const PASSWORD: &str = "password/canary+7f3a==0123456789";
const TOKEN: &str = "token.canary+9b1d/aa==9876543210";
const SIGNED: &str = "signature-canary-5e5e-0123456789";
const KEY: &str = "wJalrCanaryKey/3c3c+0123456789abcdefghij";
const LENT: &str = "lent-canary-d00d-0123456789abcdef";
const ALL: [&str; 6] = [USER, PASSWORD, TOKEN, SIGNED, KEY, LENT];

#[derive(Default)]
struct Heard(Vec<String>);

impl Heard {
    fn shown(&mut self, what: &dyn std::fmt::Debug) {
        self.0.push(format!("{what:?} {what:#?}"));
    }

    fn result<T: std::fmt::Debug, E: Diagnostic>(&mut self, result: &Result<T, E>) -> bool {
        match result {
            Ok(found) => self.shown(found),
            Err(error) => {
                self.0.push(format!("{error} {error:?} {error:#?}"));
                self.0.extend(error.help().map(|help| help.to_string()));
                let mut cause: Option<&dyn Error> = error.source();
                while let Some(source) = cause {
                    self.0.push(format!("{source} {source:?}"));
                    cause = source.source();
                }
            }
        }
        result.is_ok()
    }
}

/// Whatever it is asked, it repeats all that it may have heard, in every place of an answer.
fn echoes() -> Vec<Reply> {
    let all = ALL.join(" ");
    let json = serde_json::json!({ "errors": [{ "code": all, "message": all, "detail": all }] });
    let header = |reply: Reply| {
        let realm =
            format!("Bearer realm=\"https://{USER}.example/{TOKEN}\",service=\"{PASSWORD}\"");
        reply
            .with("www-authenticate", realm)
            .with("docker-content-digest", PASSWORD)
            .with("location", format!("https://{USER}:{PASSWORD}@evil.example/?{SIGNED}"))
            .with("retry-after", TOKEN)
            .with("content-type", PASSWORD)
    };
    let statuses = [200, 201, 302, 307, 400, 401, 403, 404, 418, 429, 500, 503];
    let one = |status| header(Reply::new(status, json.to_string()));
    let mut all_replies: Vec<Reply> = statuses.into_iter().map(one).collect();
    all_replies.push(Reply::new(200, all));
    let astray = format!("http://evil.example/?signature={SIGNED}");
    all_replies.push(Reply::new(302, "").with("location", astray));
    // Nobody is there, and the address is all that there is to tell.
    let nobody = format!("http://127.0.0.1:1/?signature={SIGNED}");
    all_replies.push(Reply::new(302, "").with("location", nobody));
    all_replies
}

#[tokio::test]
async fn no_credential_is_told_whatever_goes_wrong_and_whoever_repeats_it() {
    testkit::keep_logs(LevelFilter::TRACE);
    let mut heard = Heard::default();
    let server = Scripted::start().await;
    let secret = format!("{USER}:{PASSWORD}");
    let head = format!("HEAD {MANIFEST}");
    let mut good = 0;
    for reply in echoes() {
        let digest = server.has_image();
        let client = server.registry(Some(&secret));
        let bearer = format!("Bearer realm=\"{}?signature={SIGNED}\"", server.url("/token"));
        let asks = || Reply::new(401, "").with("www-authenticate", bearer.clone());
        let token = Reply::new(200, format!("{{\"token\":\"{TOKEN}\",\"expires_in\":9}}"));
        let basic = || Reply::new(401, "").with("www-authenticate", "Basic realm=\"a\"");
        let found = || Reply::new(200, "").with("docker-content-digest", digest.to_string());
        // At once, behind a password, behind a token, and from whom the token is.
        for (replies, tokens) in [
            (vec![reply.clone()], vec![token.clone()]),
            (vec![basic(), reply.clone(), reply.clone()], vec![token.clone()]),
            (vec![asks(), reply.clone(), reply.clone()], vec![token.clone()]),
            (vec![asks(), found()], vec![reply.clone()]),
            (vec![asks(), found(), reply.clone()], vec![token.clone()]),
        ] {
            server.on(&head, replies);
            server.on("GET /token", tokens);
            for _ in 0..2 {
                good += usize::from(heard.result(&client.resolve(&server.repo(), &tag()).await));
            }
            heard.result(&client.login().await);
            heard.shown(&client);
        }
        server.on(&format!("GET /v2/acme/app/manifests/{digest}"), [reply.clone()]);
        heard.result(&client.image(&server.repo(), &digest).await);
        server.on("GET /v2/", [reply]);
        heard.result(&client.check().await);
    }
    assert!(good > 0, "nothing went well, so nothing was shown to anybody");
    let shown = |proof: &str| {
        let asked = server.asked();
        asked.iter().any(|asked| asked.authorization.as_deref() == Some(proof))
    };
    let basic = format!("Basic {}", STANDARD.encode(&secret));
    assert!(shown(&basic) && shown(&format!("Bearer {TOKEN}")), "nothing was at stake");
    hushed(&heard);
}

#[tokio::test]
async fn what_is_no_credential_is_not_repeated_and_neither_is_what_amazon_lends() {
    testkit::keep_logs(LevelFilter::TRACE);
    let mut heard = Heard::default();
    let server = Scripted::start().await;
    let settings = OciSettings { ecr_endpoint: Some(server.url("/")), ..OciSettings::default() };
    let oci = Oci::new(&settings).unwrap();
    let host = "012345678901.dkr.ecr.eu-west-1.amazonaws.com";
    let keys = format!("AKIDEXAMPLEEXAMPLE:{KEY}:{TOKEN}");
    let account = Account::new(Provider::Ecr, host, None).unwrap();
    let token = STANDARD.encode(format!("AWS:{LENT}"));
    let good = format!(
        "{{\"authorizationData\":[{{\"authorizationToken\":\"{token}\",\"expiresAt\":4e9}}]}}"
    );
    let mut lent = 0;
    for reply in echoes().into_iter().chain([Reply::new(200, good)]) {
        server.on("POST /", [reply]);
        let registry = oci.registry(&account, Some(&Secret::new(keys.clone()))).unwrap();
        lent += usize::from(heard.result(&registry.login().await));
        heard.shown(&registry);
    }
    assert_eq!(lent, 1);

    for provider in Provider::ALL {
        let url = match provider {
            Provider::Ghcr => "ghcr.io",
            Provider::DockerHub => "docker.io",
            Provider::Ecr => host,
            Provider::Gcr => "gcr.io",
            Provider::Oci => "registry.example.com",
        };
        let account = Account::new(provider, url, None).unwrap();
        for text in [
            format!("{USER}:{PASSWORD}"),
            PASSWORD.to_owned(),
            format!("{PASSWORD}\n{TOKEN}"),
            format!("{{\"auths\":{{\"{USER}\":{{\"auth\":\"{PASSWORD}\"}}}}}}"),
            format!("{{\"auths\":{{\"{url}\":{{\"auth\":\"{PASSWORD}\"}}}}}}"),
            format!("{{\"type\":\"service_account\",\"private_key\":\"{PASSWORD}\"}}"),
            format!("{{\"{PASSWORD}"),
            keys.clone(),
        ] {
            heard.result(&oci.registry(&account, Some(&Secret::new(text))));
        }
        let login = format!("https://{USER}:{PASSWORD}@{url}/{TOKEN}");
        heard.result(&Account::new(provider, &login, None));
    }
    hushed(&heard);
}

fn hushed(heard: &Heard) {
    assert!(heard.0.len() > 20, "nothing was said");
    for text in &heard.0 {
        testkit::assert_hushed(text, &ALL);
    }
    let logs = testkit::kept_logs();
    assert!(logs.contains(" gave us a "), "it is no proof that nothing is found in nothing");
    testkit::assert_hushed(&logs, &ALL);
}
