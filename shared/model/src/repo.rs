use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::text_type;
use crate::{Digest, Tag, quote};

/// Where an image is kept, without its tag: `ghcr.io/acme/cogo-codegen-worker`.
///
/// Always with its registry. What `acme/app` means depends on who reads it, so Docker Hub is
/// written out as well: `docker.io/acme/app`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repo {
    text: Arc<str>,
    /// Where the `/` after the host is.
    slash: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is no repository of images: {why}; write {}",
    quote(text),
    fix.as_deref().unwrap_or("host[:port]/path, as in `ghcr.io/acme/cogo-codegen-worker`")
)]
pub struct InvalidRepo {
    text: String,
    why: &'static str,
    /// The very text that was meant, where that is plain.
    fix: Option<String>,
}

type Reason = &'static str;

impl Repo {
    /// The shape of every repository, for check constraints in SQL; the parser refuses some more,
    /// such as a registry left out.
    pub const PATTERN: &'static str =
        "^[a-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)+$";

    /// What registries allow the whole of it.
    pub const LONGEST: usize = 255;

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The registry, with its port if it is written: `127.0.0.1:5000`.
    pub fn host(&self) -> &str {
        &self.text[..self.slash]
    }

    /// What the registry calls it: `acme/cogo-codegen-worker`.
    pub fn path(&self) -> &str {
        &self.text[self.slash + 1..]
    }

    /// One image of it, by a name for people and by what it is: `repo:tag@sha256:…`.
    pub fn at(&self, tag: &Tag, digest: &Digest) -> String {
        format!("{self}:{tag}@{digest}")
    }
}

impl FromStr for Repo {
    type Err = InvalidRepo;

    fn from_str(text: &str) -> Result<Self, InvalidRepo> {
        // Not even in an error: what stands before the `@` of a URL is a user and a password.
        if let Some(rest) = without_user(text) {
            let text = format!("…@{rest}");
            return Err(InvalidRepo { text, why: WITH_USER, fix: corrected(rest) });
        }
        match check(text) {
            Ok(slash) => Ok(Self { text: text.into(), slash }),
            Err((why, fix)) => Err(InvalidRepo { text: text.to_owned(), why, fix }),
        }
    }
}

/// What follows `user:password@` in front of a path, if that is there.
fn without_user(text: &str) -> Option<&str> {
    let from = text.find("://").map_or(0, |scheme| scheme + 3);
    let slash = from + text[from..].find('/')?;
    let at = text[..slash].rfind('@')?;
    Some(&text[at + 1..])
}

/// Where its host ends.
fn check(text: &str) -> Result<usize, (Reason, Option<String>)> {
    let plain = |why| (why, None);
    if text.len() > Repo::LONGEST {
        return Err(plain(TOO_LONG));
    }
    if let Some((_, rest)) = text.split_once("://") {
        return Err((SCHEME, corrected(rest)));
    }
    let hub = |path: &str| corrected(&format!("docker.io/{path}"));
    let Some(slash) = text.find('/') else {
        return Err((NO_HOST, hub(&format!("library/{text}"))));
    };
    let (host, path) = (&text[..slash], &text[slash + 1..]);
    // As Docker tells a registry from the first step of a path on its hub.
    if !host.contains(['.', ':']) && host != "localhost" {
        return Err((NO_HOST, hub(text)));
    }
    if !is_host(host) {
        return Err(plain(BAD_HOST));
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if let Some(end) = last.find(['@', ':']) {
        let end = text.len() - last.len() + end;
        return Err((NOT_BARE, corrected(&text[..end])));
    }
    if !path.split('/').all(is_step) {
        return Err(plain(BAD_PATH));
    }
    match host {
        "docker.io" if !path.contains('/') => Err((NO_NAMESPACE, hub(&format!("library/{path}")))),
        "index.docker.io"
        | "registry-1.docker.io"
        | "registry.hub.docker.com"
        | "hub.docker.com" => Err((OTHER_HUB, hub(path))),
        _ => Ok(slash),
    }
}

/// Offered only if it would be accepted.
fn corrected(text: &str) -> Option<String> {
    check(text).is_ok().then(|| format!("`{text}`"))
}

const WITH_USER: Reason = "credentials belong to the account and not into its name";
const TOO_LONG: Reason = "it is longer than 255 characters";
const SCHEME: Reason = "it is a URL";
const NO_HOST: Reason = "it does not say in which registry it is";
const BAD_HOST: Reason = "its registry is no host name in lower case, with a port from 1 to 65535 \
                          or none";
const NOT_BARE: Reason = "it names one image of it";
const BAD_PATH: Reason = "the steps of its path are lower-case letters and digits, with single \
                          `.` or `_`, `__` or `-` between them";
const NO_NAMESPACE: Reason = "its path on Docker Hub has no namespace";
const OTHER_HUB: Reason = "Docker Hub is called docker.io here, so that one place has one name";

fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| is_letter(byte) || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_port = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        digits && !port.starts_with('0') && port.parse::<u16>().is_ok()
    };
    name.split('.').all(label) && port.is_none_or(is_port)
}

/// As the distribution specification has it.
fn is_step(text: &str) -> bool {
    let ends_well = |byte: Option<u8>| byte.is_some_and(is_letter);
    let known = |byte: u8| is_letter(byte) || b"._-".contains(&byte);
    ends_well(text.bytes().next())
        && ends_well(text.bytes().last())
        && text.bytes().all(known)
        && text.split(|letter: char| letter.is_ascii_alphanumeric()).all(|between| {
            matches!(between, "" | "." | "_" | "__") || between.trim_matches('-').is_empty()
        })
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

impl fmt::Display for Repo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.text)
    }
}

text_type!(Repo);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::matching;
    use proptest::prelude::*;

    fn repo(text: &str) -> Repo {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_repository_is_a_registry_and_a_path() {
        for (text, host, path) in [
            ("ghcr.io/acme/cogo-agent-core", "ghcr.io", "acme/cogo-agent-core"),
            ("docker.io/library/debian", "docker.io", "library/debian"),
            ("127.0.0.1:5000/cogo-agent-core", "127.0.0.1:5000", "cogo-agent-core"),
            ("localhost/a", "localhost", "a"),
            ("registry:5000/a", "registry:5000", "a"),
            (
                "012345678901.dkr.ecr.eu-west-1.amazonaws.com/a_b/c__d/e--f.g",
                "012345678901.dkr.ecr.eu-west-1.amazonaws.com",
                "a_b/c__d/e--f.g",
            ),
            ("europe-docker.pkg.dev/p/r/i", "europe-docker.pkg.dev", "p/r/i"),
        ] {
            assert_eq!((repo(text).host(), repo(text).path()), (host, path));
            assert_eq!(repo(text).as_str(), text);
        }
    }

    #[test]
    fn a_wrong_one_says_what_is_wrong_and_how_to_write_it() {
        let long = format!("ghcr.io/{}", "a".repeat(248));
        for (text, why, fix) in [
            ("", NO_HOST, None),
            ("nginx", NO_HOST, Some("`docker.io/library/nginx`")),
            ("acme/app", NO_HOST, Some("`docker.io/acme/app`")),
            ("Acme/app", NO_HOST, None),
            ("nginx:1.27", NO_HOST, None),
            ("docker.io/nginx", NO_NAMESPACE, Some("`docker.io/library/nginx`")),
            ("index.docker.io/acme/app", OTHER_HUB, Some("`docker.io/acme/app`")),
            ("registry-1.docker.io/nginx", OTHER_HUB, None),
            ("https://ghcr.io/acme/app", SCHEME, Some("`ghcr.io/acme/app`")),
            ("oci://x", SCHEME, None),
            ("ghcr.io/acme/app:v1.2.3", NOT_BARE, Some("`ghcr.io/acme/app`")),
            ("ghcr.io/acme/app@sha256:0", NOT_BARE, Some("`ghcr.io/acme/app`")),
            ("ghcr.io/acme/app:v1@sha256:0", NOT_BARE, Some("`ghcr.io/acme/app`")),
            ("ghcr.io/", BAD_PATH, None),
            ("ghcr.io//app", BAD_PATH, None),
            ("ghcr.io/acme/", BAD_PATH, None),
            ("ghcr.io/Acme/app", BAD_PATH, None),
            ("ghcr.io/a..b", BAD_PATH, None),
            ("ghcr.io/../a", BAD_PATH, None),
            ("ghcr.io/a___b", BAD_PATH, None),
            ("ghcr.io/a._b", BAD_PATH, None),
            ("ghcr.io/-a", BAD_PATH, None),
            ("ghcr.io/a-", BAD_PATH, None),
            ("ghcr.io/a b", BAD_PATH, None),
            ("ghcr.io/é", BAD_PATH, None),
            ("ghcr.io/a\n", BAD_PATH, None),
            ("ghcr.io/a?b", BAD_PATH, None),
            ("GHCR.io/a", BAD_HOST, None),
            ("ghcr.io:/a", BAD_HOST, None),
            ("ghcr.io:0/a", BAD_HOST, None),
            ("ghcr.io:080/a", BAD_HOST, None),
            ("ghcr.io:65536/a", BAD_HOST, None),
            ("ghcr.io:+80/a", BAD_HOST, None),
            ("-ghcr.io/a", BAD_HOST, None),
            ("ghcr..io/a", BAD_HOST, None),
            ("[::1]:5000/a", BAD_HOST, None),
            (&long, TOO_LONG, None),
        ] {
            let fix = fix.map(str::to_owned);
            assert_eq!(text.parse::<Repo>(), Err(InvalidRepo { text: text.to_owned(), why, fix }));
        }
        assert_eq!(
            "acme/app".parse::<Repo>().unwrap_err().to_string(),
            "`acme/app` is no repository of images: it does not say in which registry it is; write \
             `docker.io/acme/app`",
        );
        assert_eq!(
            "ghcr.io/".parse::<Repo>().unwrap_err().to_string(),
            format!(
                "`ghcr.io/` is no repository of images: {BAD_PATH}; write host[:port]/path, as in \
                 `ghcr.io/acme/cogo-codegen-worker`"
            ),
        );
    }

    #[test]
    fn a_password_in_front_of_it_is_refused_and_not_quoted() {
        for text in [
            "user:hunter2@ghcr.io/acme/app",
            "https://user:hunter2@ghcr.io/acme/app",
            "https://a:hunter2@b:hunter2@ghcr.io/acme/app",
            "hunter2@ghcr.io/acme/app",
        ] {
            let error = text.parse::<Repo>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            assert_eq!((error.why, error.fix.as_deref()), (WITH_USER, Some("`ghcr.io/acme/app`")));
        }
    }

    #[test]
    fn an_image_is_named_by_its_tag_and_by_what_it_is() {
        let tag = "v1.2.3".parse().unwrap();
        assert_eq!(
            repo("ghcr.io/acme/app").at(&tag, &Digest::of(b"")),
            "ghcr.io/acme/app:v1.2.3@\
             sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        );
    }

    /// What the specification allows, written as a pattern and not by our parser.
    const WRITTEN: &str = "^([a-z0-9]{1,9}(-[a-z0-9]{1,9})?\\.){1,3}[a-z]{2,6}(:[1-9][0-9]{0,3})?\
                           (/[a-z0-9]{1,9}((\\.|_|__|-{1,3})[a-z0-9]{1,9}){0,2}){2,4}$";

    proptest! {
        // What the pattern makes is long, and slow to make.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_pattern_for_sql_allows_steps_as_the_parser_does(text in matching(Repo::PATTERN)) {
            match text.parse::<Repo>() {
                Ok(repo) => prop_assert_eq!(repo.to_string(), text),
                Err(error) => prop_assert_ne!(error.why, BAD_PATH),
            }
        }
    }

    proptest! {
        #[test]
        fn a_repository_prints_as_it_is_parsed(text in matching(WRITTEN)) {
            let repo = repo(&text);
            prop_assert_eq!(format!("{}/{}", repo.host(), repo.path()), &*text);
            prop_assert_eq!(repo.to_string(), &*text);
            let json = serde_json::to_string(&repo).unwrap();
            prop_assert_eq!(serde_json::from_str::<Repo>(&json).unwrap(), repo);
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_print_differently(
            text in "(docker.io/|https://|ghcr.io/)?[a-z0-9.:/@_é-]{0,20}",
        ) {
            if let Ok(repo) = text.parse::<Repo>() {
                prop_assert_eq!(repo.to_string(), text);
            }
        }
    }
}
