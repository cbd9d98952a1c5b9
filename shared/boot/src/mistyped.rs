use std::ffi::OsStr;

/// A variable of the environment that is almost one of ours. It would have no effect, and whoever
/// set it would not learn why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("the environment sets `{name}`, and there is no such setting")]
#[diagnostic(help("did you mean {meant}? --help lists every setting, as [env: NAME]"))]
pub struct Mistyped {
    name: String,
    meant: String,
}

/// Nobody else's variables begin like this. Others are left alone: the environment is everybody's.
const OURS: [&str; 2] = ["AGENT_", "BUS_"];
/// Letters that differ, at most. What is further off belongs to another program of the same pod.
const NEAR: usize = 2;

pub(crate) fn check<'a>(
    set: impl IntoIterator<Item = &'a OsStr>,
    known: &[String],
) -> Result<(), Mistyped> {
    for name in set.into_iter().filter_map(OsStr::to_str) {
        if !OURS.iter().any(|prefix| name.starts_with(prefix)) || known.iter().any(|k| k == name) {
            continue;
        }
        let near = |known: &&String| strsim::damerau_levenshtein(name, known) <= NEAR;
        if let Some(meant) = known.iter().find(near) {
            return Err(Mistyped { name: name.to_owned(), meant: meant.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_almost_a_setting_is_refused_and_what_is_not_ours_is_left_alone() {
        let known = ["AGENT_SERVICE", "AGENT_SHARD", "BUS_POLL_MS", "PORT"].map(str::to_owned);
        let said = |name: &str| check([OsStr::new(name)], &known).err().map(|error| error.meant);
        for (name, meant) in [
            ("AGENT_SERVCE", Some("AGENT_SERVICE")),
            ("AGENT_SHARDS", Some("AGENT_SHARD")),
            ("BUS_POLL", None),
            ("BUS_POLL_S", Some("BUS_POLL_MS")),
            ("AGENT_SHARD", None),
            ("AGENT_NAME", None),
            ("PORTS", None),
        ] {
            assert_eq!(said(name).as_deref(), meant, "{name}");
        }
    }
}
