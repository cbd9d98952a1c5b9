use std::fmt;

use model::{CredentialRef, SecretPlace};

/// Which secrets may be read: beginnings of references, compared step by step. Empty, it allows
/// nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowList(Vec<Allowed>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    scheme: &'static str,
    /// A mount or a namespace, then the steps of a path or the name of a Secret.
    steps: Vec<String>,
}

/// Holds nothing of the text: a secret may have been put there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry} of SECRETS_ALLOW is not the beginning of a reference: {why}")]
pub struct InvalidAllow {
    entry: usize,
    why: &'static str,
}

impl AllowList {
    pub(crate) fn parse(entries: &[String]) -> Result<Self, InvalidAllow> {
        let numbered = (1..).zip(entries.iter().map(|entry| entry.trim()));
        let written = numbered.filter(|(_, entry)| !entry.is_empty());
        let parsed = written.map(|(number, entry)| {
            Allowed::parse(entry).map_err(|why| InvalidAllow { entry: number, why })
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }

    pub(crate) fn allows(&self, place: &SecretPlace) -> bool {
        let asked = Allowed::of(place);
        !is_vaults_own(place)
            && self.0.iter().any(|allowed| {
                allowed.scheme == asked.scheme && asked.steps.starts_with(&allowed.steps)
            })
    }
}

/// What Vault mounts for itself is never a store of secrets, but would answer a read: with our own
/// token, for one.
fn is_vaults_own(place: &SecretPlace) -> bool {
    let SecretPlace::Vault { mount, .. } = place else { return false };
    let first = mount.split('/').next().unwrap_or_default();
    ["auth", "cubbyhole", "identity", "sys"].contains(&first)
}

impl Allowed {
    fn parse(entry: &str) -> Result<Self, &'static str> {
        const KIND: &str = "it begins with vault:, k8s: or env:";
        let (scheme, rest) = entry.split_once(':').ok_or(KIND)?;
        let scheme = ["vault", "k8s", "env"].into_iter().find(|known| *known == scheme);
        let scheme = scheme.ok_or(KIND)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest).trim_end_matches('/');
        if rest == "*" {
            return Ok(Self { scheme, steps: Vec::new() });
        }
        // What is left out is filled in, so that there is one parser of what names may look like.
        let parse = |text: String| text.parse::<CredentialRef>().ok();
        let filled = match scheme {
            "env" => parse(format!("env:{rest}")),
            _ if rest.contains('/') => parse(format!("{scheme}:{rest}")),
            _ => parse(format!("{scheme}:{rest}/x")),
        };
        let filled = filled.filter(|_| !rest.contains(['#', '?']));
        let mut allowed = Self::of(filled.ok_or(WHOLE)?.place());
        if scheme != "env" && !rest.contains('/') {
            allowed.steps.pop();
        }
        Ok(allowed)
    }

    fn of(place: &SecretPlace) -> Self {
        match place {
            SecretPlace::Vault { mount, path, .. } => {
                let steps = std::iter::once(&**mount).chain(path.split('/'));
                Self { scheme: "vault", steps: steps.map(str::to_owned).collect() }
            }
            SecretPlace::Kubernetes { namespace, secret, .. } => {
                Self { scheme: "k8s", steps: vec![namespace.to_string(), secret.to_string()] }
            }
            SecretPlace::Env { name } => Self { scheme: "env", steps: vec![name.to_string()] },
        }
    }
}

const WHOLE: &str = "write vault:<mount>, vault:<mount>/<path>, k8s:<namespace>, \
                     k8s:<namespace>/<secret>, env:<NAME>, or * in place of a name";

impl fmt::Display for AllowList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Allowed { scheme, steps }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let steps = if steps.is_empty() { "*".to_owned() } else { steps.join("/") };
            write!(out, "{comma}{scheme}:{steps}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> AllowList {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        AllowList::parse(&entries).unwrap()
    }

    fn allows(entries: &[&str], reference: &str) -> bool {
        list(entries).allows(reference.parse::<CredentialRef>().unwrap().place())
    }

    #[test]
    fn whole_steps_decide() {
        for (entry, reference, allowed) in [
            ("vault:kv", "vault:kv/a/b", true),
            ("vault:kv/", "vault:kv/a/b", true),
            ("vault://kv", "vault:kv/a#f?version=2", true),
            ("vault:kv", "vault:kv2/a", false),
            ("vault:kv/code", "vault:kv/code", true),
            ("vault:kv/code", "vault://kv/code/llm#key", true),
            ("vault:kv/code", "vault:kv/codegen", false),
            ("vault:kv/code/llm", "vault:kv/code", false),
            ("vault:team%2Fkv", "vault:team%2Fkv/a", true),
            ("vault:team", "vault:team%2Fkv/a", false),
            ("vault:team/kv", "vault:team%2Fkv/a", false),
            ("vault:*", "vault:kv/a", true),
            ("vault:*", "k8s:kv/a", false),
            ("vault:*", "vault:auth/token/lookup-self#id", false),
            ("vault:*", "vault:auth%2Ftoken/lookup-self#id", false),
            ("vault:sys", "vault:sys/raw/core", false),
            ("vault:*", "vault:system/a", true),
            ("k8s:cogo-dev", "k8s:cogo-dev/llm#key", true),
            ("k8s:cogo-dev", "k8s:cogo-prod/llm", false),
            ("k8s:cogo-dev/llm", "k8s:cogo-dev/llm", true),
            ("k8s:cogo-dev/llm", "k8s:cogo-dev/llm2", false),
            ("env:LLM_KEY", "env:LLM_KEY", true),
            ("env:LLM", "env:LLM_KEY", false),
            ("env:*", "env:LLM_KEY", true),
        ] {
            assert_eq!(allows(&[entry], reference), allowed, "{entry} and {reference}");
        }
        assert!(allows(&["k8s:a", " vault:kv "], "vault:kv/a"));
        for reference in ["vault:kv/a", "k8s:a/b", "env:A"] {
            assert!(!allows(&[], reference) && !allows(&[""], reference), "nothing is open");
        }
    }

    #[test]
    fn what_is_no_beginning_is_refused_and_not_quoted() {
        for entry in [
            "hunter2",
            "*",
            "vault:",
            "vault",
            "vault:hunter2/../x",
            "k8s:a/hunter2/c",
            "k8s:Hunter2",
            "env:hunter2",
            "vault:kv/hunter2#key",
            "vault:kv/*",
            "aws:hunter2",
        ] {
            let error = AllowList::parse(&["k8s:a".to_owned(), entry.to_owned()]).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(told.contains("entry 2") && !told.contains("unter2"), "{entry}: {told}");
        }
        assert_eq!(list(&["vault:kv/a/", "k8s:*"]).to_string(), "vault:kv/a, k8s:*");
    }
}
