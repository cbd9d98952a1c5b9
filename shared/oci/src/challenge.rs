use http_auth::{ChallengeRef, parse_challenges};

/// How a registry wants us to prove who we are: one entry of `WWW-Authenticate`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// A token is to be had at the realm.
// No `Debug`: a server can write into it what it was sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
}

/// All that we can answer, in the order in which they are preferred: a token is good for one
/// repository and a few minutes, a password for everything. Headers that cannot be read count for
/// nothing, and neither do ways that we do not know.
pub(crate) fn challenges<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    let known = |one: &ChallengeRef<'_>| {
        if one.scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !one.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let given = |name: &str| {
            let mut all = one.params.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            all.next().map(|(_, value)| value.to_unescaped()).filter(|text| !text.is_empty())
        };
        let (service, scope) = (given("service"), given("scope"));
        Some(Challenge::Bearer(Bearer { realm: given("realm")?, service, scope }))
    };
    let mut found = Vec::new();
    for header in headers {
        found.extend(parse_challenges(header).unwrap_or_default().iter().filter_map(known));
    }
    found.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    found
}

impl Bearer {
    /// What the token is asked for. A registry may have words of its own for it, but never gets us
    /// to ask for more than reading this repository.
    pub(crate) fn scope_for(&self, path: Option<&str>) -> Option<String> {
        let path = path?;
        let plain = format!("repository:{path}:pull");
        let Some(scope) = &self.scope else { return Some(plain) };
        let reads = |one: &str| {
            let mut parts = one.splitn(2, ':');
            let kind = parts.next().unwrap_or_default();
            let (name, actions) = parts.next().and_then(|rest| rest.rsplit_once(':'))?;
            let of_this = kind.starts_with("repository") && name == path;
            (of_this && actions.split(',').all(|action| READS.contains(&action))).then_some(())
        };
        let all_read = scope.split(' ').all(|one| reads(one).is_some());
        Some(if all_read { scope.clone() } else { plain })
    }
}

const READS: [&str; 3] = ["pull", "metadata_read", "content/read"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let (service, scope) = (service.map(str::to_owned), scope.map(str::to_owned));
        Challenge::Bearer(Bearer { realm: realm.to_owned(), service, scope })
    }

    #[test]
    fn what_registries_ask_for_is_understood() {
        let hub = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:acme/app:pull"),
        );
        for (headers, expected) in [
            (
                &["Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",\
                   scope=\"repository:acme/app:pull\""][..],
                vec![hub.clone()],
            ),
            (&["Basic realm=\"basic-realm\""], vec![Challenge::Basic]),
            (&["basic realm=\"a\""], vec![Challenge::Basic]),
            (
                &[
                    "Basic realm=\"https://1.dkr.ecr.a.amazonaws.com/\",service=\"ecr.amazonaws.com\"",
                ],
                vec![Challenge::Basic],
            ),
            // Several, in one header and in two: a token comes first.
            (
                &["Basic realm=\"a\", Bearer realm=\"https://b\""],
                vec![bearer("https://b", None, None), Challenge::Basic],
            ),
            (
                &["Negotiate", "Basic realm=\"a\"", "BEARER Realm=\"https://b\", Service=c"],
                vec![bearer("https://b", Some("c"), None), Challenge::Basic],
            ),
            (
                &["Bearer realm=\"https://b\",error=\"invalid_token\",scope=\"\""],
                vec![bearer("https://b", None, None)],
            ),
            (&["Bearer realm=\"a\\\"b\""], vec![bearer("a\"b", None, None)]),
            (&["Bearer service=\"a\""], vec![]),
            (&["Digest realm=\"a\""], vec![]),
            (&["", "=,=", "Bearer realm=\"unclosed"], vec![]),
            (&[], vec![]),
        ] {
            assert!(challenges(headers.iter().copied()) == expected, "{headers:?}");
        }
    }

    #[test]
    fn no_registry_gets_us_to_ask_for_more_than_reading() {
        let plain = "repository:acme/app:pull";
        for (scope, asked) in [
            (None, plain),
            (Some("repository:acme/app:pull"), plain),
            (Some("repository(plugin):acme/app:pull"), "repository(plugin):acme/app:pull"),
            (
                Some("repository:acme/app:metadata_read,pull"),
                "repository:acme/app:metadata_read,pull",
            ),
            (Some("repository:acme/app:pull,push"), plain),
            (Some("repository:acme/app:*"), plain),
            (Some("repository:acme/other:pull"), plain),
            (Some("repository:acme/app:pull repository:acme/other:pull"), plain),
            (Some("registry:catalog:*"), plain),
            (Some("nonsense"), plain),
        ] {
            let scope = scope.map(str::to_owned);
            let bearer = Bearer { realm: String::new(), service: None, scope };
            assert_eq!(bearer.scope_for(Some("acme/app")).as_deref(), Some(asked));
        }
        let bearer = Bearer { realm: String::new(), service: None, scope: Some("a:b:*".into()) };
        assert_eq!(bearer.scope_for(None), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(
            text in "((Bearer|Basic)( realm=\"?[a-z:/]{0,9}\"?)?[, =\"\\\\a-zA-Z\\PC]{0,9}){0,4}",
        ) {
            let _ = challenges([text.as_str()].into_iter());
        }
    }
}
