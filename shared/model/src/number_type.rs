/// Writes the dull impls of a number with a lower bound: everything goes through `TryFrom`.
macro_rules! number_type {
    ($name:ident($number:ty), $invalid:ident) => {
        impl $name {
            pub const fn get(self) -> $number {
                self.0
            }
        }

        impl From<$name> for $number {
            fn from(value: $name) -> $number {
                value.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(out)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $invalid;

            fn from_str(text: &str) -> Result<Self, $invalid> {
                // Only plain digits: `+1` and `007` would not print as they were written.
                let number = text.parse::<$number>().map_err(|_| $invalid(text.to_owned()))?;
                if number.to_string() != text {
                    return Err($invalid(text.to_owned()));
                }
                Self::try_from(number)
            }
        }

        const _: () = {
            use std::error::Error;

            use bytes::BytesMut;
            use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

            impl ToSql for $name {
                fn to_sql(
                    &self,
                    ty: &Type,
                    out: &mut BytesMut,
                ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
                    self.0.to_sql(ty, out)
                }

                fn accepts(ty: &Type) -> bool {
                    <$number as ToSql>::accepts(ty)
                }

                to_sql_checked!();
            }

            impl<'a> FromSql<'a> for $name {
                fn from_sql(
                    ty: &Type,
                    raw: &'a [u8],
                ) -> Result<Self, Box<dyn Error + Sync + Send>> {
                    Ok(Self::try_from(<$number as FromSql>::from_sql(ty, raw)?)?)
                }

                fn accepts(ty: &Type) -> bool {
                    <$number as FromSql>::accepts(ty)
                }
            }
        };
    };
}
pub(crate) use number_type;
