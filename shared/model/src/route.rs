use std::fmt;
use std::str::FromStr;

use crate::text_type;
use crate::{Shard, Stage, Tenant, Word, quote};

/// Where a message wants to go: `codegen/generate/0`, or `codegen/generate/0/acme` for one tenant.
///
/// Without a tenant, a worker that listens there takes every tenant's messages, and a message
/// published there belongs to the tenant `default`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    stage: Stage,
    shard: Shard,
    tenant: Option<Tenant>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a route: {why}; write service/role/shard, as in `codegen/generate/0`",
    quote(text)
)]
pub struct InvalidRoute {
    text: String,
    why: &'static str,
}

impl Route {
    pub fn new(stage: Stage, shard: Shard) -> Self {
        Self { stage, shard, tenant: None }
    }

    /// The same place, for one tenant only.
    pub fn for_tenant(self, tenant: Tenant) -> Self {
        Self { tenant: Some(tenant), ..self }
    }

    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    pub fn service(&self) -> &Word {
        self.stage.service()
    }

    pub fn role(&self) -> &Word {
        self.stage.role()
    }

    pub fn shard(&self) -> Shard {
        self.shard
    }

    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }
}

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let invalid = |why| InvalidRoute { text: text.to_owned(), why };
        let mut parts = text.split('/');
        let mut next = |missing| parts.next().ok_or_else(|| invalid(missing));

        let service = next("it has no service")?.parse().map_err(|_| invalid(BAD_SERVICE))?;
        let role = next("it has no role")?.parse().map_err(|_| invalid(BAD_ROLE))?;
        let shard = next("it has no shard")?.parse().map_err(|_| invalid(BAD_SHARD))?;
        let tenant = match parts.next() {
            Some(tenant) => Some(tenant.parse().map_err(|_| invalid(BAD_TENANT))?),
            None => None,
        };
        if parts.next().is_some() {
            return Err(invalid("nothing may follow the tenant"));
        }
        Ok(Self { stage: Stage::new(service, role), shard, tenant })
    }
}

const BAD_SERVICE: &str = "the service is not a lower-case word";
const BAD_ROLE: &str = "the role is not a lower-case word";
const BAD_SHARD: &str = "the shard is not a number from 0";
const BAD_TENANT: &str = "the tenant is not letters, digits and `_ . : -`";

impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.stage, self.shard)?;
        match &self.tenant {
            Some(tenant) => write!(out, "/{tenant}"),
            None => Ok(()),
        }
    }
}

text_type!(Route);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::matching;
    use bytes::BytesMut;
    use postgres_types::{FromSql, ToSql, Type};
    use proptest::prelude::*;

    #[test]
    fn a_route_names_its_parts() {
        let route: Route = "code/build-test/3/acme".parse().unwrap();
        assert_eq!(route.service().as_str(), "code");
        assert_eq!(route.role().as_str(), "build-test");
        assert_eq!(route.shard().get(), 3);
        assert_eq!(route.tenant().unwrap().as_str(), "acme");
        assert_eq!("code/build-test/3".parse::<Route>().unwrap().tenant(), None);
    }

    #[test]
    fn a_wrong_route_says_which_part_is_wrong() {
        for (text, why) in [
            ("", BAD_SERVICE),
            ("codegen", "it has no role"),
            ("codegen/generate", "it has no shard"),
            ("Codegen/generate/0", BAD_SERVICE),
            ("codegen/gen erate/0", BAD_ROLE),
            ("codegen/generate/", BAD_SHARD),
            ("codegen/generate/-1", BAD_SHARD),
            ("codegen/generate/00", BAD_SHARD),
            ("codegen/generate/0/", BAD_TENANT),
            ("codegen/generate/0/a b", BAD_TENANT),
            ("codegen/generate/0/acme/", "nothing may follow the tenant"),
        ] {
            assert_eq!(text.parse::<Route>(), Err(InvalidRoute { text: text.to_owned(), why }));
        }
        assert_eq!(
            "codegen/generate".parse::<Route>().unwrap_err().to_string(),
            "`codegen/generate` is not a route: it has no shard; \
             write service/role/shard, as in `codegen/generate/0`",
        );
    }

    #[test]
    fn postgres_uses_the_same_parser() {
        let route: Route = "codegen/generate/0/acme".parse().unwrap();
        let mut raw = BytesMut::new();
        route.to_sql(&Type::TEXT, &mut raw).unwrap();
        assert_eq!(Route::from_sql(&Type::TEXT, &raw).unwrap(), route);
        assert!(Route::from_sql(&Type::TEXT, b"codegen").is_err());
    }

    proptest! {
        #[test]
        fn a_route_prints_as_it_is_parsed(
            service in matching(Word::PATTERN),
            role in matching(Word::PATTERN),
            shard in 0..=i32::MAX,
            tenant in proptest::option::of(matching(Tenant::PATTERN)),
        ) {
            let stage = Stage::new(service.parse().unwrap(), role.parse().unwrap());
            let route = Route::new(stage, shard.try_into().unwrap());
            let route = match tenant {
                Some(tenant) => route.for_tenant(tenant.parse().unwrap()),
                None => route,
            };
            prop_assert_eq!(route.to_string().parse(), Ok(route));
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_print_differently(text in ".{0,40}") {
            if let Ok(route) = text.parse::<Route>() {
                prop_assert_eq!(route.to_string(), text);
            }
        }
    }
}
