/// The known name that somebody probably meant, for "did you mean" in errors.
///
/// Nothing is better than a far-fetched guess: at most a third of the letters may differ.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = plain(name);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `Bus-Lease` and `BUS_LEASE` are the same mistake-free name to a person.
fn plain(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_name_is_offered_unless_it_is_far_fetched() {
        let known = ["BUS_LEASE", "BUS_POLL_MS", "DATABASE_URL", "PORT"];
        for (name, expected) in [
            ("BUS_LEESE", Some("BUS_LEASE")),
            ("bus-lease", Some("BUS_LEASE")),
            ("DATBASE_URL", Some("DATABASE_URL")),
            ("BUS_POLL", Some("BUS_POLL_MS")),
            ("PROT", Some("PORT")),
            ("VAULT_ADDR", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }

    #[test]
    fn nothing_known_means_nothing_offered() {
        assert_eq!(nearest("anything", []), None);
    }
}
