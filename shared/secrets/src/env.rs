use std::collections::BTreeMap;
use std::sync::Arc;

use model::Secret;

use crate::found::{Field, Found};
use crate::{Through, Trouble};

/// A variable of this process, for development.
pub(crate) fn read(name: &str) -> Result<Found, Trouble> {
    #[expect(clippy::disallowed_methods, reason = "a reference names what no setting can know")]
    let value = std::env::var_os(name).ok_or(Trouble::NoSecret)?;
    let field = value.into_string().map_or(Field::Binary, |text| Field::Text(Secret::new(text)));
    let through = Through { keeper: "the environment", server: None, namespace: None, login: None };
    Ok(Found {
        fields: BTreeMap::from([(name.to_owned(), field)]),
        version: None,
        lease: None,
        through: Arc::new(through),
    })
}
