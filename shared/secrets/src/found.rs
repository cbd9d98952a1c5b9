use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::Secret;

use crate::Trouble;

/// What lies at a place: all entries of one secret, and what is known about it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) fields: BTreeMap<String, Field>,
    pub(crate) version: Option<Arc<str>>,
    /// How long it may be used, if who keeps it says so.
    pub(crate) lease: Option<Duration>,
    pub(crate) through: Arc<Through>,
}

#[derive(Debug)]
pub(crate) enum Field {
    Text(Secret),
    /// Bytes that are no UTF-8.
    Binary,
}

/// Who gave a secret out, and to whom. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// `Vault`, `Kubernetes` or `the environment`.
    pub keeper: &'static str,
    /// Its address.
    pub server: Option<String>,
    /// In Vault.
    pub namespace: Option<String>,
    /// How we logged in, as in `kubernetes, role codegen`.
    pub login: Option<String>,
}

impl fmt::Display for Through {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.keeper)?;
        if let Some(server) = &self.server {
            write!(out, " at {server}")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(out, ", namespace {namespace}")?;
        }
        if let Some(login) = &self.login {
            write!(out, ", login by {login}")?;
        }
        Ok(())
    }
}

impl Found {
    /// The field that is asked for, or the only one.
    pub(crate) fn field(&self, name: Option<&str>) -> Result<&Secret, Trouble> {
        let field = match (name, self.fields.len()) {
            (Some(name), _) => self.fields.get(name),
            (None, 1) => self.fields.values().next(),
            (None, _) => None,
        };
        match (field, name) {
            (Some(Field::Text(secret)), _) => Ok(secret),
            (Some(Field::Binary), _) => Err(Trouble::NotText),
            (None, Some(_)) => Err(Trouble::NoField { has: self.names() }),
            (None, None) => Err(Trouble::WhichField { has: self.names() }),
        }
    }

    /// Of fields, for people.
    fn names(&self) -> String {
        const MOST: usize = 12;
        let names: Vec<String> =
            self.fields.keys().take(MOST).map(|name| model::quote(name)).collect();
        match names.len() {
            0 => "none".to_owned(),
            MOST if self.fields.len() > MOST => format!("{}, …", names.join(", ")),
            _ => names.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[(&str, &str)]) -> Found {
        let through = Through { keeper: "Vault", server: None, namespace: None, login: None };
        let field = |value: &&str| Field::Text(Secret::new((*value).to_owned()));
        Found {
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), field(value))).collect(),
            version: None,
            lease: None,
            through: Arc::new(through),
        }
    }

    #[test]
    fn a_field_is_named_unless_there_is_only_one() {
        let one = found(&[("key", "a")]);
        let two = found(&[("key", "a"), ("user", "b")]);
        assert_eq!(one.field(None).unwrap().expose(), "a");
        assert_eq!(two.field(Some("user")).unwrap().expose(), "b");
        for (found, name, told) in [
            (&two, None, "`key`, `user`"),
            (&two, Some("kez"), "`key`, `user`"),
            (&found(&[]), None, "none"),
        ] {
            let error = found.field(name).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert!(!format!("{:?}", found(&[("key", "hunter2")])).contains("hunter2"));
    }
}
