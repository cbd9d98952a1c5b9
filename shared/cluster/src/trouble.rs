use std::time::Duration;

use kube::core::Status;
use miette::Diagnostic;
use model::Disposition;

use crate::printable::printable;

/// What is wrong between us and Kubernetes. Of what a server says only words with a fixed meaning
/// are taken over: its messages may repeat what it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Trouble {
    #[error("Kubernetes does not know who we are")]
    #[diagnostic(help(
        "the token of this service account or kubeconfig is expired or of another cluster"
    ))]
    Unknown,

    #[error("we may not do it")]
    #[diagnostic(help(
        "compare the roles of this service account with those in k8s/; `kubectl auth can-i` asks"
    ))]
    Denied,

    #[error("the admission webhook `{webhook}` refused it")]
    #[diagnostic(help("whoever runs that webhook knows its rules; its own log says more"))]
    NotAdmitted { webhook: String },

    #[error("there is no such object")]
    #[diagnostic(help("check namespace and name"))]
    NotFound,

    #[error("somebody else changed it at the same moment")]
    #[diagnostic(help("it is tried again by itself"))]
    Conflict,

    #[error("Kubernetes found it invalid{}", at(fields))]
    #[diagnostic(help(
        "`kubectl apply --server-side --dry-run=server` with the same change says what it dislikes"
    ))]
    Invalid { fields: Vec<String> },

    #[error("the list we followed is too old")]
    #[diagnostic(help("it is read anew by itself"))]
    Expired,

    #[error("Kubernetes was asked too often")]
    #[diagnostic(help("it is asked again by itself; its priority levels say how often one may"))]
    TooOften { after: Option<Duration> },

    #[error("Kubernetes is in trouble itself ({status})")]
    #[diagnostic(help("its own log says more; it is asked again by itself"))]
    Broken { status: u16 },

    #[error("Kubernetes did not understand us ({status})")]
    #[diagnostic(help("check the version of the server and what lies between"))]
    Refused { status: u16 },

    #[error("could not reach Kubernetes: {why}")]
    #[diagnostic(help(
        "check its address, the network between and whom its certificate is signed by"
    ))]
    Unreachable { why: String },

    #[error("Kubernetes did not answer `{call}` within {} s", limit.as_secs_f64())]
    #[diagnostic(help("raise KUBE_TIMEOUT if it is merely slow"))]
    TooSlow { call: &'static str, limit: Duration },

    #[error("the answer is not what Kubernetes answers")]
    #[diagnostic(help(
        "check that the address is that of Kubernetes and not of something in between"
    ))]
    Unreadable,

    #[error("the login that our kubeconfig or service account describes failed")]
    #[diagnostic(help("check its token file, or the program that it runs for a token"))]
    NoLogin,

    #[error("there are more than {most} {what} in one namespace")]
    #[diagnostic(help("agents belong in a namespace of their own"))]
    TooMany { what: &'static str, most: usize },
}

impl Trouble {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Denied
            | Self::NotAdmitted { .. }
            | Self::NotFound
            | Self::Invalid { .. }
            | Self::Refused { .. }
            | Self::Unreadable
            | Self::TooMany { .. } => Disposition::GiveUp,
            // Tokens of service accounts are exchanged under us, and a login may fail for a moment.
            Self::Unknown
            | Self::NoLogin
            | Self::Conflict
            | Self::Expired
            | Self::TooOften { .. }
            | Self::Broken { .. }
            | Self::Unreachable { .. }
            | Self::TooSlow { .. } => Disposition::Retry,
        }
    }

    pub(crate) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status),
            kube::Error::HyperError(error) => unreachable(error),
            kube::Error::Service(error) => unreachable(&**error),
            kube::Error::ReadEvents(error) => unreachable(error),
            kube::Error::Auth(_) => Self::NoLogin,
            _ => Self::Unreadable,
        }
    }

    pub(crate) fn of_status(status: &Status) -> Self {
        match status.code {
            401 => Self::Unknown,
            404 => Self::NotFound,
            // An older server than the list we follow says 504 to it; a watch is told 410.
            409 => Self::Conflict,
            410 => Self::Expired,
            422 => Self::Invalid { fields: fields(status) },
            429 => Self::TooOften { after: retry_after(status) },
            status @ 500.. => Self::Broken { status },
            code => match webhook(&status.message) {
                Some(webhook) => Self::NotAdmitted { webhook },
                None if code == 403 => Self::Denied,
                None => Self::Refused { status: code },
            },
        }
    }
}

fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// Names of fields only: what stands beside them are values, of variables for instance.
fn fields(status: &Status) -> Vec<String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.take(3).map(|cause| printable(&cause.field, 120)).filter(|one| !one.is_empty()).collect()
}

fn at(fields: &[String]) -> String {
    if fields.is_empty() { String::new() } else { format!(" at {}", fields.join(", ")) }
}

/// The name in `admission webhook "policy.example.com" denied the request: …`.
fn webhook(message: &str) -> Option<String> {
    let (_, after) = message.split_once("admission webhook \"")?;
    let (name, _) = after.split_once('"')?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-".contains(letter);
    (name.len() <= 253 && !name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

/// The innermost cause: the others say no more than that a request failed.
fn unreachable(error: &(dyn std::error::Error + 'static)) -> Trouble {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    Trouble::Unreachable { why: printable(&error.to_string(), 200) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn trouble(code: u16, message: &str, details: &Value) -> Trouble {
        let body = json!({ "kind": "Status", "status": "Failure", "code": code,
            "message": message, "reason": "any", "details": details });
        Trouble::of_status(&serde_json::from_value(body).unwrap())
    }

    #[test]
    fn every_status_is_one_trouble_and_knows_whether_it_passes() {
        let broken = |status| Trouble::Broken { status };
        for (code, expected, disposition) in [
            (400, Trouble::Refused { status: 400 }, Disposition::GiveUp),
            (401, Trouble::Unknown, Disposition::Retry),
            (403, Trouble::Denied, Disposition::GiveUp),
            (404, Trouble::NotFound, Disposition::GiveUp),
            (409, Trouble::Conflict, Disposition::Retry),
            (410, Trouble::Expired, Disposition::Retry),
            (422, Trouble::Invalid { fields: vec![] }, Disposition::GiveUp),
            (429, Trouble::TooOften { after: None }, Disposition::Retry),
            (500, broken(500), Disposition::Retry),
            (503, broken(503), Disposition::Retry),
            (504, broken(504), Disposition::Retry),
        ] {
            let found = trouble(code, "said hunter2", &json!({}));
            assert_eq!(found, expected);
            assert_eq!(found.disposition(), disposition, "{code}");
            assert!(!found.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn of_an_invalid_object_only_the_names_of_its_fields_are_told() {
        let details = json!({ "causes": [
            { "field": "spec.template.spec.containers[0].env[0].value",
              "message": "Invalid value: \"hunter2\"", "reason": "FieldValueInvalid" },
            { "field": "", "message": "hunter2" },
        ]});
        let found = trouble(422, "Deployment is invalid: hunter2", &details);
        let told = format!("{found} {found:?}");
        assert!(told.contains("at spec.template.spec.containers[0].env[0].value"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_webhook_is_named_and_not_quoted() {
        let message = "admission webhook \"policy.example.com\" denied the request: hunter2";
        for code in [400, 403] {
            let found = trouble(code, message, &json!({}));
            assert_eq!(found, Trouble::NotAdmitted { webhook: "policy.example.com".to_owned() });
        }
        let odd = "admission webhook \"a b\" denied the request";
        assert_eq!(trouble(403, odd, &json!({})), Trouble::Denied);
    }

    #[test]
    fn how_long_to_wait_is_taken_from_the_answer() {
        let found = trouble(429, "", &json!({ "retryAfterSeconds": 2 }));
        assert_eq!(found, Trouble::TooOften { after: Some(Duration::from_secs(2)) });
    }
}
