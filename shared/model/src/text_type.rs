// The macro also serves other crates of words, which then need none of these themselves.
#[doc(hidden)]
pub use {bytes, postgres_types, serde};

/// Writes the dull impls of a type that has `FromStr` and `Display`: serde and Postgres go through
/// that one parser, so no edge can let in what another refuses. (clap finds `FromStr` by itself.)
#[macro_export]
macro_rules! text_type {
    ($name:ident) => {
        // A block of its own, so that these names do not reach the file around it.
        const _: () = {
            use std::borrow::Cow;
            use std::error::Error;
            use std::fmt::Write;
            use std::str::FromStr;

            use $crate::text_type::bytes::BytesMut;
            use $crate::text_type::postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
            use $crate::text_type::serde::de::{Deserialize, Deserializer, Error as _};
            use $crate::text_type::serde::ser::{Serialize, Serializer};

            impl TryFrom<String> for $name {
                type Error = <$name as FromStr>::Err;

                fn try_from(text: String) -> Result<Self, <$name as FromStr>::Err> {
                    text.parse()
                }
            }

            impl From<$name> for String {
                fn from(value: $name) -> String {
                    value.to_string()
                }
            }

            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                    // Not `&str`: a JSON string with an escape in it cannot be borrowed.
                    Cow::<str>::deserialize(source)?.parse().map_err(D::Error::custom)
                }
            }

            impl ToSql for $name {
                fn to_sql(
                    &self,
                    _: &Type,
                    out: &mut BytesMut,
                ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
                    write!(out, "{self}")?;
                    Ok(IsNull::No)
                }

                fn accepts(ty: &Type) -> bool {
                    <&str as ToSql>::accepts(ty)
                }

                to_sql_checked!();
            }

            impl<'a> FromSql<'a> for $name {
                fn from_sql(
                    ty: &Type,
                    raw: &'a [u8],
                ) -> Result<Self, Box<dyn Error + Sync + Send>> {
                    Ok(<&str as FromSql>::from_sql(ty, raw)?.parse()?)
                }

                fn accepts(ty: &Type) -> bool {
                    <&str as FromSql>::accepts(ty)
                }
            }
        };
    };
}
