//! Amazon's Signature Version 4, of a request without path and query: all that ECR's API takes.

use hmac::{Hmac, KeyInit as _, Mac as _};
use model::Secret;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

#[derive(Clone, Debug)]
pub(crate) struct AwsKeys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret,
    pub(crate) session_token: Option<Secret>,
}

pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    /// In lower case and in order, without the two that signing adds.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

const DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// The headers to send besides those that are signed.
pub(crate) struct Signed {
    pub(crate) date: String,
    pub(crate) authorization: Secret,
}

pub(crate) fn sign(keys: &AwsKeys, request: &Unsigned<'_>, now: OffsetDateTime) -> Signed {
    let date = now.to_offset(time::UtcOffset::UTC).format(DATE).expect("it is a date");
    let day = &date[..8];

    let mut headers = request.headers.to_vec();
    headers.push(("x-amz-date", &date));
    if let Some(token) = &keys.session_token {
        headers.push(("x-amz-security-token", token.expose()));
    }
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let hash = hex::encode(Sha256::digest(request.body));
    let canonical = Secret::new(format!("{}\n/\n\n{lines}\n{names}\n{hash}", request.method));

    let Unsigned { region, service, .. } = request;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let hash = hex::encode(Sha256::digest(canonical.expose()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
    let first = Secret::new(format!("AWS4{}", keys.secret_access_key.expose()));
    let mut key = hmac(first.expose().as_bytes(), day);
    for part in [*region, *service, "aws4_request"] {
        key = hmac(&key, part);
    }
    let signature = hex::encode(hmac(&key, &to_sign));
    let who = &keys.access_key_id;
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={who}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    Signed { date, authorization: Secret::new(authorization) }
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("any length of key will do");
    hmac.update(text.as_bytes());
    hmac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    /// Amazon's own test vectors, by their names there.
    #[test]
    fn a_request_is_signed_as_amazon_signs_it() {
        let host = ("host", "example.amazonaws.com");
        let form = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
        for (name, method, token, headers, body, signature) in [
            (
                "get-vanilla",
                "GET",
                None,
                &[host][..],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "post-vanilla",
                "POST",
                None,
                &[host],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-sts-header-before",
                "POST",
                Some(TOKEN),
                &[host],
                "",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                None,
                &[
                    ("content-length", "13"),
                    ("content-type", "application/x-www-form-urlencoded"),
                    host,
                    ("x-amz-content-sha256", form),
                ],
                "Param1=value1",
                "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
            ),
        ] {
            let keys = AwsKeys {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: Secret::new(
                    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
                ),
                session_token: token.map(|token| Secret::new(token.to_owned())),
            };
            let (region, service, body) = ("us-east-1", "service", body.as_bytes());
            let request = Unsigned { method, region, service, headers, body };
            let signed = sign(&keys, &request, datetime!(2015-08-30 12:36:00 UTC));
            assert_eq!(signed.date, "20150830T123600Z");
            let authorization = signed.authorization.expose();
            assert!(authorization.ends_with(&format!("Signature={signature}")), "{name}");
            let scope = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ";
            assert!(authorization.contains(scope), "{name}");
        }
    }
}
