use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use crate::SecretPlace;
use crate::text_type;

/// Names a secret and never holds one, so it may be printed anywhere.
///
/// `k8s:<namespace>/<secret>#key`, `vault:<mount>/<path>#field?version=3`, `env:NAME`; with `//`
/// after the scheme it is a URI and means the same. Prints as it was written, and is equal to
/// whatever means the same.
#[derive(Clone)]
pub struct CredentialRef {
    text: Arc<str>,
    place: SecretPlace,
}

/// Says what is wrong and holds nothing of the text: who puts a secret where its name belongs must
/// not find it in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no reference to a secret: {0}; write k8s:<namespace>/<secret>#<key>, \
     vault:<mount>/<path>#<field> or, for development, env:<NAME>"
)]
pub struct InvalidCredentialRef(&'static str);

const LONGEST: usize = 1024;

impl CredentialRef {
    pub fn place(&self) -> &SecretPlace {
        &self.place
    }
}

impl FromStr for CredentialRef {
    type Err = InvalidCredentialRef;

    fn from_str(text: &str) -> Result<Self, InvalidCredentialRef> {
        if text.len() > LONGEST {
            return Err(InvalidCredentialRef("it is longer than 1024 characters"));
        }
        let place = SecretPlace::parse(text).map_err(InvalidCredentialRef)?;
        Ok(Self { text: text.into(), place })
    }
}

impl fmt::Display for CredentialRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.text)
    }
}

impl fmt::Debug for CredentialRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CredentialRef({})", self.text)
    }
}

impl PartialEq for CredentialRef {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for CredentialRef {}

impl Hash for CredentialRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

text_type!(CredentialRef);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> CredentialRef {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        text.parse::<CredentialRef>().expect_err(text).to_string()
    }

    fn vault(mount: &str, path: &str, field: Option<&str>, version: Option<u64>) -> SecretPlace {
        SecretPlace::Vault {
            mount: mount.into(),
            path: path.into(),
            field: field.map(Arc::from),
            version: version.map(|version| version.try_into().unwrap()),
        }
    }

    #[test]
    fn a_reference_says_where_a_secret_lies() {
        let pull_secret = |key: Option<&str>| SecretPlace::Kubernetes {
            namespace: "cogo-dev".into(),
            secret: "ghcr-pullsecret".into(),
            key: key.map(Arc::from),
        };
        for (text, place) in [
            ("k8s:cogo-dev/ghcr-pullsecret", pull_secret(None)),
            ("k8s://cogo-dev/ghcr-pullsecret", pull_secret(None)),
            (
                "k8s:cogo-dev/ghcr-pullsecret#.dockerconfigjson",
                pull_secret(Some(".dockerconfigjson")),
            ),
            ("vault:kv/codegen/llm", vault("kv", "codegen/llm", None, None)),
            ("vault:kv/llm#key", vault("kv", "llm", Some("key"), None)),
            ("vault:kv/llm#key?version=3", vault("kv", "llm", Some("key"), Some(3))),
            ("vault://kv/llm?version=3#key", vault("kv", "llm", Some("key"), Some(3))),
            ("vault:kv/llm?version=3", vault("kv", "llm", None, Some(3))),
            ("vault:team%2Fkv/llm", vault("team/kv", "llm", None, None)),
            ("vault:kv/a%20b/%C3%BC#x%23y", vault("kv", "a b/ü", Some("x#y"), None)),
            ("env:LLM_KEY", SecretPlace::Env { name: "LLM_KEY".into() }),
            ("env://LLM_KEY", SecretPlace::Env { name: "LLM_KEY".into() }),
        ] {
            let reference = parse(text);
            assert_eq!(*reference.place(), place, "{text}");
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let longest = format!("vault:kv/{}", "a".repeat(LONGEST));
        for (text, why) in [
            ("", "does not begin with"),
            ("kv/llm", "does not begin with"),
            ("aws:kv/llm", "does not begin with"),
            ("K8S:a/b", "does not begin with"),
            ("k8s:ghcr-pullsecret", "names no Secret"),
            ("k8s:Cogo/x", "a namespace has"),
            ("k8s:/x", "a namespace has"),
            ("k8s:a/b/c", "a Secret's name has"),
            ("k8s:a/", "a Secret's name has"),
            ("k8s:a/b..c", "a Secret's name has"),
            ("k8s:a/../b", "a Secret's name has"),
            ("k8s:a/b#", "a Secret's key has"),
            ("k8s:a/b#x/y", "a Secret's key has"),
            ("k8s:a/b?version=1", "keeps no versions"),
            ("vault:path", "no path"),
            ("vault:kv/", "no empty steps"),
            ("vault:/kv/llm", "no empty steps"),
            ("vault:kv//llm", "no empty steps"),
            ("vault:kv/../sys/raw", "no empty steps"),
            ("vault:kv/%2e%2E/sys", "no empty steps"),
            ("vault:kv/a%2Fb", "only the slashes of the mount"),
            ("vault:kv/a b", "escaped as in a URI"),
            ("vault:kv/a%2", "escaped as in a URI"),
            ("vault:kv/a%zz", "escaped as in a URI"),
            ("vault:kv/%ff", "escaped as in a URI"),
            ("vault:kv/a%0Ab", "control characters"),
            ("vault:kv/a#", "names no field"),
            ("vault:kv/a?version=0", "number from 1"),
            ("vault:kv/a?version=+1", "number from 1"),
            ("vault:kv/a?version=latest", "number from 1"),
            ("vault:kv/a?v=1", "only `version=`"),
            ("vault:kv/a#b#c", "two fields"),
            ("vault:kv/a?version=1#b?version=2", "two versions"),
            ("env:llm_key", "upper-case"),
            ("env:1A", "upper-case"),
            ("env:", "upper-case"),
            ("env:A#b", "nothing follows"),
            (&longest, "longer than"),
        ] {
            let told = refused(text);
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn a_secret_in_place_of_its_name_is_refused_and_not_quoted() {
        for secret in [
            "hunter2",
            "ghp_hunter2hunter2hunter2hunter2hunter2",
            "hvs.CAESIhunter2",
            "eyJhbGciOiJIUzI1NiJ9.hunter2.sig",
            "postgres://cogo:hunter2@db/cogo",
            "{\"auths\":{\"ghcr.io\":{\"auth\":\"hunter2\"}}}",
            "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
            "vault:hunter2",
            "env:hunter2",
            "k8s:hunter2",
        ] {
            let error = secret.parse::<CredentialRef>().expect_err(secret);
            let json = serde_json::to_string(secret).unwrap();
            let serde = serde_json::from_str::<CredentialRef>(&json).unwrap_err();
            assert!(!format!("{error} {error:?} {serde} {serde:?}").contains("hunter2"), "{error}");
        }
    }

    fn step() -> impl Strategy<Value = String> {
        let step = "([A-Za-z0-9._~@:+,=-]|%20|%C3%BC|%3F){1,9}";
        step.prop_filter("no step", |text| text != "." && text != "..")
    }

    prop_compose! {
        fn written()(
            mount in step(),
            path in prop::collection::vec(step(), 1..4),
            field in prop::option::of(step()),
            version in prop::option::of(1u64..),
        ) -> (String, Option<String>, Option<u64>) {
            (format!("{mount}/{}", path.join("/")), field, version)
        }
    }

    proptest! {
        #[test]
        fn references_print_as_they_are_parsed_and_all_forms_mean_the_same(
            (place, field, version) in written(),
        ) {
            let field = field.map(|field| format!("#{field}")).unwrap_or_default();
            let version = version.map(|version| format!("?version={version}")).unwrap_or_default();
            let first = parse(&format!("vault:{place}{field}{version}"));
            for text in [
                format!("vault:{place}{field}{version}"),
                format!("vault:{place}{version}{field}"),
                format!("vault://{place}{field}{version}"),
                format!("vault://{place}{version}{field}"),
            ] {
                let reference = parse(&text);
                prop_assert_eq!(reference.to_string(), text);
                prop_assert_eq!(&reference, &first);
                let json = serde_json::to_string(&reference).unwrap();
                let again: CredentialRef = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(again.to_string(), reference.to_string());
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_print_anything_else(
            text in "(k8s|vault|env)?:?(//)?[a-z/.#?%=A-Z0-9\\PC-]{0,20}",
        ) {
            match text.parse::<CredentialRef>() {
                Ok(reference) => prop_assert_eq!(reference.to_string(), text),
                Err(error) => prop_assert!(error.to_string().starts_with("this is no reference")),
            }
        }
    }
}
