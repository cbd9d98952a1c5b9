/// A number of bytes as settings are written, as in `512MiB`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a size; write a whole number with its unit, as in `64KiB`, `512MiB` or `2GiB`"
)]
pub struct InvalidSize(String);

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// For clap: `#[arg(long, env, default_value = "2GiB", value_parser = child::size)]`.
pub fn size(text: &str) -> Result<u64, InvalidSize> {
    let invalid = || InvalidSize(text.to_owned());
    let (number, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
        .ok_or_else(invalid)?;
    let number: u64 = number.trim().parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_needs_its_unit() {
        for (text, bytes) in [("0B", 0), ("7 B", 7), ("64KiB", 65_536), ("2GiB", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "2", "GiB", "-1B", "2GB", "1.5GiB", "99999999999TiB"] {
            assert_eq!(size(text), Err(InvalidSize(text.to_owned())));
        }
    }
}
