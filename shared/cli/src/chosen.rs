use std::collections::BTreeSet;

use clap::Args;
use localstack::Part;
use model::nearest;

/// Which parts of the local stack, and which workers.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// Run these alone: postgres, rest, realtime, functions, workers, or workers by their names.
    ///
    /// As in `rest,agent-core`. What one of them needs is added: functions need rest, and all of
    /// them Postgres.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<String>,

    /// Run all workers but these.
    #[arg(long, value_name = "WORKERS", value_delimiter = ',', conflicts_with = "only")]
    except: Vec<String>,
}

impl Chosen {
    /// Why it cannot be, if something is called what nothing is called.
    pub(crate) fn mistake(&self, workers: &[&str]) -> Option<String> {
        let parts = Part::ALL.map(Part::name);
        let known = |name: &str| Part::named(name).is_some() || workers.contains(&name);
        let (what, unknown, names) = match self.only.iter().find(|name| !known(name)) {
            Some(unknown) => ("part or worker", unknown, [&parts, workers].concat()),
            None => {
                let unknown = self.except.iter().find(|name| !workers.contains(&name.as_str()))?;
                ("worker", unknown, workers.to_vec())
            }
        };
        let near = nearest(unknown, names.iter().copied());
        let near = near.map_or_else(String::new, |near| format!(", did you mean {near}?"));
        Some(format!("there is no {what} {unknown}{near} (of {})", names.join(", ")))
    }

    pub(crate) fn wants(&self, worker: &str) -> bool {
        let is_in = |list: &[String], wanted: &str| list.iter().any(|one| one == wanted);
        let all = self.only.is_empty() || is_in(&self.only, Part::Workers.name());
        (all || is_in(&self.only, worker)) && !is_in(&self.except, worker)
    }

    /// Nothing but this worker.
    pub(crate) fn only(worker: &str) -> Self {
        Self { only: vec![worker.to_owned()], except: Vec::new() }
    }

    /// Whether somebody asked for this very worker.
    pub(crate) fn names(&self, worker: &str) -> bool {
        self.only.iter().any(|one| one == worker)
    }

    /// The parts that run, and those of them that nobody named but others need.
    pub(crate) fn parts(&self) -> (BTreeSet<Part>, BTreeSet<Part>) {
        if self.only.is_empty() {
            return (Part::ALL.into_iter().collect(), BTreeSet::new());
        }
        let named = self.only.iter().map(|name| Part::named(name).unwrap_or(Part::Workers));
        let named: BTreeSet<Part> = named.collect();
        let added = Part::missing(&named);
        (named.union(&added).copied().collect(), added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKERS: &[&str] = &["agent-core", "probe"];

    fn only(names: &str) -> Chosen {
        Chosen { only: names.split(',').map(str::to_owned).collect(), except: Vec::new() }
    }

    fn names(parts: BTreeSet<Part>) -> String {
        parts.into_iter().map(Part::name).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn what_was_named_runs_and_what_it_needs() {
        for (said, parts, added, workers) in [
            ("postgres", "postgres", "", ""),
            ("rest", "postgres,rest", "postgres", ""),
            ("functions", "postgres,rest,functions", "postgres,rest", ""),
            ("workers", "postgres,workers", "postgres", "agent-core,probe"),
            ("probe", "postgres,workers", "postgres", "probe"),
            ("realtime,probe,postgres", "postgres,realtime,workers", "", "probe"),
        ] {
            let chosen = only(said);
            assert_eq!(chosen.mistake(WORKERS), None, "{said}");
            let (found, more) = chosen.parts();
            assert_eq!((names(found).as_str(), names(more).as_str()), (parts, added), "{said}");
            let wanted: Vec<_> = WORKERS.iter().copied().filter(|it| chosen.wants(it)).collect();
            assert_eq!(wanted.join(","), workers, "{said}");
        }
    }

    #[test]
    fn unless_something_is_said_everything_runs() {
        let all = Chosen::default();
        assert_eq!(all.parts().0.len(), Part::ALL.len());
        assert!(WORKERS.iter().all(|worker| all.wants(worker)));
        let but_one = Chosen { except: vec!["probe".to_owned()], ..Chosen::default() };
        assert!(but_one.wants("agent-core") && !but_one.wants("probe"));
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest_that_is_right() {
        let told = only("rest,realtme").mistake(WORKERS).unwrap();
        assert!(
            told.starts_with("there is no part or worker realtme, did you mean realtime?"),
            "{told}"
        );
        let chosen = Chosen { except: vec!["rest".to_owned()], ..Chosen::default() };
        let told = chosen.mistake(WORKERS).unwrap();
        assert_eq!(told, "there is no worker rest (of agent-core, probe)");
    }
}
