use std::num::NonZeroU64;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

/// Where a secret lies: what a [`crate::CredentialRef`] means, however it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretPlace {
    /// One entry of a Kubernetes Secret; without a key, the only one it has.
    Kubernetes { namespace: Arc<str>, secret: Arc<str>, key: Option<Arc<str>> },
    /// One field of a secret in one of Vault's key-value stores; without a field, the only one it
    /// has, and without a version, the latest.
    Vault { mount: Arc<str>, path: Arc<str>, field: Option<Arc<str>>, version: Option<NonZeroU64> },
    /// A variable of our own environment, for development.
    Env { name: Arc<str> },
}

/// Never holds a part of what was refused: that may be a secret.
type Reason = &'static str;

impl SecretPlace {
    /// Which of the entries at this place is meant, if one is named.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Kubernetes { key, .. } => key.as_deref(),
            Self::Vault { field, .. } => field.as_deref(),
            Self::Env { .. } => None,
        }
    }

    /// The place with all of its entries: what is read at once, whichever of them is asked for.
    pub fn whole(&self) -> Self {
        let mut whole = self.clone();
        match &mut whole {
            Self::Kubernetes { key: field, .. } | Self::Vault { field, .. } => *field = None,
            Self::Env { .. } => {}
        }
        whole
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Reason> {
        let (scheme, rest) = text.split_once(':').ok_or(NO_SCHEME)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (place, tail) = rest.split_at(rest.find(['#', '?']).unwrap_or(rest.len()));
        match scheme {
            "k8s" => kubernetes(place, &Tail::parse(tail)?),
            "vault" => vault(place, &Tail::parse(tail)?),
            "env" if !tail.is_empty() => Err("nothing follows the name of a variable"),
            "env" => env(place),
            _ => Err(NO_SCHEME),
        }
    }
}

const NO_SCHEME: Reason = "it does not begin with `k8s:`, `vault:` or `env:`; if it is a secret \
                           itself, it belongs into Vault or a Kubernetes Secret";

/// What follows the place, in either order: a URI has its version before its fragment.
#[derive(Default)]
struct Tail<'a> {
    field: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Tail<'a> {
    fn parse(text: &'a str) -> Result<Self, Reason> {
        let mut tail = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (mark, after) = rest.split_at(1);
            let (part, next) = after.split_at(after.find(['#', '?']).unwrap_or(after.len()));
            let earlier = if mark == "#" {
                tail.field.replace(part)
            } else {
                let version = part.strip_prefix("version=");
                tail.version.replace(version.ok_or("only `version=` can follow the `?`")?)
            };
            if earlier.is_some() {
                return Err("it names two fields or two versions");
            }
            rest = next;
        }
        Ok(tail)
    }
}

fn kubernetes(place: &str, tail: &Tail<'_>) -> Result<SecretPlace, Reason> {
    let (namespace, secret) = place.split_once('/').ok_or("it names no Secret")?;
    if !is_label(namespace) {
        return Err("a namespace has at most 63 lower-case letters, digits and `-`");
    }
    if secret.len() > 253 || !secret.split('.').all(is_label) {
        return Err("a Secret's name has lower-case letters, digits, `-` and `.`");
    }
    let in_key = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_key = |key: &str| (1..=253).contains(&key.len()) && key.bytes().all(in_key);
    if !tail.field.is_none_or(is_key) {
        return Err("a Secret's key has letters, digits, `-`, `_` and `.`");
    }
    if tail.version.is_some() {
        return Err("a Kubernetes Secret keeps no versions");
    }
    Ok(SecretPlace::Kubernetes {
        namespace: namespace.into(),
        secret: secret.into(),
        key: tail.field.map(Arc::from),
    })
}

/// RFC 1123, as Kubernetes asks for it.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn vault(place: &str, tail: &Tail<'_>) -> Result<SecretPlace, Reason> {
    let (mount, path) = place.split_once('/').ok_or("it names a mount of Vault and no path")?;
    // A mount may lie several levels deep, and only Vault knows where it ends: its slashes are
    // escaped, so that nobody has to guess.
    let mount = decode(mount)?;
    let path = path.split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
    if !mount.split('/').all(is_step) || !path.iter().all(|step| is_step(step)) {
        return Err("a path in Vault has no empty steps, no `.` and no `..`");
    }
    if path.iter().any(|step| step.contains('/')) {
        return Err("only the slashes of the mount are escaped");
    }
    let field = tail.field.map(decode).transpose()?;
    if field.as_deref() == Some("") {
        return Err("it ends with `#` and names no field");
    }
    let version = tail.version.map(|text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or("a version is a number from 1")
    });
    Ok(SecretPlace::Vault {
        mount: mount.into(),
        path: path.join("/").into(),
        field: field.map(Arc::from),
        version: version.transpose()?,
    })
}

fn is_step(step: &str) -> bool {
    !matches!(step, "" | "." | "..")
}

/// What is neither a letter, a digit nor plain punctuation is written as in a URI, `%20`.
fn decode(text: &str) -> Result<String, Reason> {
    const WRONG: Reason = "Vault's names have letters, digits and `-._~@:+,=`; anything else is \
                           escaped as in a URI, `%20`";
    let mut escaped = text.split('%');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@:+,=".contains(&byte);
    let first = escaped.next().is_none_or(|part| part.bytes().all(plain));
    let rest = escaped.all(|part| {
        let hex = part.bytes().take(2).filter(u8::is_ascii_hexdigit).count();
        hex == 2 && part.bytes().skip(2).all(plain)
    });
    if !first || !rest {
        return Err(WRONG);
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| WRONG)?;
    // Vault accepts no such path, and a log line would break at it.
    if decoded.chars().any(char::is_control) {
        return Err("no name in Vault has control characters");
    }
    Ok(decoded.into_owned())
}

fn env(name: &str) -> Result<SecretPlace, Reason> {
    let inner = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let named = name.bytes().all(inner) && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit();
    if !named {
        return Err("a variable's name has upper-case letters, digits and `_`");
    }
    Ok(SecretPlace::Env { name: name.into() })
}
