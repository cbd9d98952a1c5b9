use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Secret;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use time::OffsetDateTime;
use url::Url;

use crate::account::with_port;
use crate::sigv4::{AwsKeys, Unsigned, sign};
use crate::wire::{Answer, Ask, Wire};
use crate::{Login, OciError};

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const JSON: &str = "application/x-amz-json-1.1";
const LARGEST: usize = 64 << 10;

/// A password of half a day, for whoever may sign with the keys.
pub(crate) async fn login(
    wire: &Wire,
    api: Url,
    region: &str,
    keys: &AwsKeys,
) -> Result<Login, OciError> {
    let host = with_port(&api);
    let headers = [("content-type", JSON), ("host", host.as_str()), ("x-amz-target", TARGET)];
    let body = "{}";
    let request = Unsigned {
        method: "POST",
        region,
        service: "ecr",
        headers: &headers,
        body: body.as_bytes(),
    };
    let signed = sign(keys, &request, OffsetDateTime::now_utc());
    let mut headers = vec![
        (CONTENT_TYPE, JSON),
        (HeaderName::from_static("x-amz-target"), TARGET),
        (HeaderName::from_static("x-amz-date"), &*signed.date),
    ];
    if let Some(token) = &keys.session_token {
        headers.push((HeaderName::from_static("x-amz-security-token"), token.expose()));
    }
    let ask = Ask {
        method: Method::POST,
        url: api,
        headers: &headers,
        authorization: Some(&signed.authorization),
        body,
        largest: LARGEST,
    };
    let answer = wire.ask(&host, ask).await?;
    if !answer.status.is_success() {
        return Err(refused(host, &answer));
    }
    read(&answer.body).ok_or(OciError::Unreadable {
        registry: host,
        why: "it gave no token and no time until when it is good",
    })
}

fn refused(registry: String, answer: &Answer) -> OciError {
    let after = answer.retry_after();
    match answer.status.as_u16() {
        429 => OciError::TooOften { registry, after },
        // Amazon says with the same status that it is asked too often and that a key is wrong.
        400 | 403 if is_throttled(&answer.body) => OciError::TooOften { registry, after },
        400 | 401 | 403 => OciError::LoginRefused { registry },
        status @ (408 | 500..) => OciError::Broken { registry, status, after },
        300..=399 => OciError::Elsewhere { registry, why: "a login is not sent on" },
        status => OciError::Refused { registry, status },
    }
}

fn is_throttled(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "__type")]
        kind: String,
    }
    let said: Option<Said> = serde_json::from_slice(body).ok();
    said.is_some_and(|said| {
        let kind = said.kind.rsplit('#').next().unwrap_or_default();
        matches!(kind, "ThrottlingException" | "Throttling" | "RequestLimitExceeded")
    })
}

fn read(body: &[u8]) -> Option<Login> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Given {
        authorization_data: Vec<Data>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        authorization_token: Secret,
        expires_at: f64,
    }
    let given: Given = serde_json::from_slice(body).ok()?;
    let data = given.authorization_data.into_iter().next()?;
    let plain = STANDARD.decode(data.authorization_token.expose()).ok()?;
    let plain = Secret::new(String::from_utf8(plain).ok()?);
    let (user, password) = plain.expose().split_once(':')?;
    let seconds = data.expires_at.is_finite().then_some(data.expires_at as i64)?;
    Some(Login {
        user: Secret::new(user.to_owned()),
        password: Secret::new(password.to_owned()),
        expires_at: Some(OffsetDateTime::from_unix_timestamp(seconds).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn what_amazon_answers_is_a_login_with_an_end() {
        let token = STANDARD.encode("AWS:hunter2");
        let body = format!(
            "{{\"authorizationData\":[{{\"authorizationToken\":\"{token}\",\
             \"expiresAt\":1795294800.123,\"proxyEndpoint\":\"https://a\"}}]}}"
        );
        let login = read(body.as_bytes()).unwrap();
        assert_eq!((login.user.expose(), login.password.expose()), ("AWS", "hunter2"));
        assert_eq!(login.expires_at, Some(datetime!(2026-11-21 21:00 UTC)));
        for wrong in [
            "",
            "{}",
            r#"{"authorizationData":[]}"#,
            r#"{"authorizationData":[{"authorizationToken":"%","expiresAt":1}]}"#,
            r#"{"authorizationData":[{"authorizationToken":"QVdT","expiresAt":1}]}"#,
            r#"{"authorizationData":[{"authorizationToken":"QVdTOmE=","expiresAt":1e30}]}"#,
            r#"{"authorizationData":[{"authorizationToken":"QVdTOmE="}]}"#,
        ] {
            assert!(read(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn being_asked_too_often_is_told_from_a_wrong_key() {
        for (body, throttled) in [
            (r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#, true),
            (r#"{"__type":"com.amazonaws.ecr#ThrottlingException"}"#, true),
            (r#"{"__type":"UnrecognizedClientException"}"#, false),
            ("", false),
        ] {
            assert_eq!(is_throttled(body.as_bytes()), throttled, "{body}");
        }
    }
}
