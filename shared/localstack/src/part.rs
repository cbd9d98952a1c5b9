use std::collections::BTreeSet;
use std::fmt;

/// A part of the local stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Postgres,
    Rest,
    Realtime,
    Functions,
    Workers,
}

impl Part {
    pub const ALL: [Self; 5] =
        [Self::Postgres, Self::Rest, Self::Realtime, Self::Functions, Self::Workers];

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Rest => "rest",
            Self::Realtime => "realtime",
            Self::Functions => "functions",
            Self::Workers => "workers",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// What it does not work without.
    fn needs(self) -> &'static [Self] {
        match self {
            Self::Postgres => &[],
            Self::Rest | Self::Realtime | Self::Workers => &[Self::Postgres],
            // They talk to the database as any client of Supabase does.
            Self::Functions => &[Self::Postgres, Self::Rest],
        }
    }

    /// Whether it is reached through the gateway.
    pub fn behind_gateway(self) -> bool {
        match self {
            Self::Rest | Self::Realtime | Self::Functions => true,
            Self::Postgres | Self::Workers => false,
        }
    }

    /// What `wanted` needs and does not name.
    pub fn missing(wanted: &BTreeSet<Self>) -> BTreeSet<Self> {
        let needed = wanted.iter().flat_map(|part| part.needs()).copied();
        needed.filter(|part| !wanted.contains(part)).collect()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_part_needs_is_known_to_the_last() {
        for (wanted, missing) in [
            (vec![], vec![]),
            (vec![Part::Postgres], vec![]),
            (vec![Part::Workers], vec![Part::Postgres]),
            (vec![Part::Rest, Part::Postgres], vec![]),
            (vec![Part::Functions], vec![Part::Postgres, Part::Rest]),
            (vec![Part::Functions, Part::Rest], vec![Part::Postgres]),
        ] {
            let wanted: BTreeSet<Part> = wanted.into_iter().collect();
            let added = Part::missing(&wanted);
            assert_eq!(added, missing.into_iter().collect());
            let all = wanted.union(&added).copied().collect();
            assert_eq!(Part::missing(&all), BTreeSet::new(), "what is added needs nothing more");
        }
    }

    #[test]
    fn a_part_is_found_by_its_name() {
        for part in Part::ALL {
            assert_eq!(Part::named(&part.to_string()), Some(part));
        }
        assert_eq!(Part::named("rst"), None);
    }
}
