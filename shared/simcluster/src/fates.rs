use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Ready a second after its container started.
    Ready,
    /// Ready after this long.
    Slow(Duration),
    /// Its image is nowhere: `ErrImagePull` at half a second, `ImagePullBackOff` from 12 s on.
    MissingImage,
    /// The registry refuses who pulls.
    PullRefused,
    /// Its container exits with 1 as soon as it runs, again and again.
    CrashAtStart,
    /// Ready, and this long afterwards it exits with 1, again and again.
    CrashAfterReady(Duration),
    /// Runs and is never ready.
    NeverReady,
    /// Ready, and this long afterwards not ready any more.
    ReadyThenNot(Duration),
    /// Ready and not ready in turn, each for this long.
    Flapping(Duration),
    /// What its container is configured with does not exist: `CreateContainerConfigError`.
    WrongConfig,
    /// Its command does not exist: `RunContainerError`.
    BadEntrypoint,
    /// Killed for its memory, again and again.
    OutOfMemory,
    /// Ready, but runs another image than it was asked for.
    OtherDigest,
    /// Ready, but its workers say nothing on the bus.
    Silent,
    /// Admission refuses the pod, so there never is one.
    Refused,
    /// A quota is exceeded, so there never is a pod.
    OverQuota,
}

/// What becomes of pods by their image, changed at any time by whoever holds a clone.
///
/// Looked up in this order: the image as it is written, without its digest, its tag alone, its
/// digest alone. What is nowhere in here is told by the tag itself: the fates' names (`bad-pull`,
/// `crash`, `notready`, `slow20`, …) anywhere in it between hyphens. Everything else is ready.
#[derive(Clone, Debug, Default)]
pub struct Fates(Arc<Mutex<HashMap<String, Life>>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) fate: Option<Fate>,
    pub(crate) drain: Option<Duration>,
}

impl Fates {
    /// `image` is a whole image, one without its digest, or only a tag or a digest.
    pub fn set(&self, image: &str, fate: Fate) {
        self.lives().entry(image.to_owned()).or_default().fate = Some(fate);
    }

    /// How long a pod of this image goes on after it was told to stop.
    pub fn set_drain(&self, image: &str, drain: Duration) {
        self.lives().entry(image.to_owned()).or_default().drain = Some(drain);
    }

    pub fn forget(&self, image: &str) {
        self.lives().remove(image);
    }

    pub fn of(&self, image: &str) -> Fate {
        let lives = self.lives();
        let found = names(image).into_iter().find_map(|name| lives.get(name)?.fate.clone());
        found.unwrap_or_else(|| said_by(tag_of(image)))
    }

    pub(crate) fn drain_of(&self, image: &str) -> Option<Duration> {
        let lives = self.lives();
        names(image).into_iter().find_map(|name| lives.get(name)?.drain)
    }

    fn lives(&self) -> MutexGuard<'_, HashMap<String, Life>> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

fn names(image: &str) -> Vec<&str> {
    let (tagged, digest) = image.split_once('@').unwrap_or((image, ""));
    vec![image, tagged, tag_of(image), digest]
}

fn tag_of(image: &str) -> &str {
    let tagged = image.split_once('@').map_or(image, |(tagged, _)| tagged);
    let last = tagged.rsplit('/').next().unwrap_or_default();
    last.split_once(':').map_or("", |(_, tag)| tag)
}

fn said_by(tag: &str) -> Fate {
    let said = format!("-{tag}-");
    let says = |word: &str| said.contains(&format!("-{word}-"));
    let seconds = |word: &str| {
        tag.split('-')
            .find_map(|part| part.strip_prefix(word)?.parse().ok().map(Duration::from_secs))
    };
    let after =
        |word: &str, otherwise: u64| seconds(word).unwrap_or(Duration::from_secs(otherwise));
    if let Some(slow) = seconds("slow") {
        return Fate::Slow(slow);
    }
    if says("crash-after-ready") {
        return Fate::CrashAfterReady(after("after", 3));
    }
    const WORDS: &[(&str, Fate)] = &[
        ("bad-pull", Fate::MissingImage),
        ("pull-refused", Fate::PullRefused),
        ("crash", Fate::CrashAtStart),
        ("notready", Fate::NeverReady),
        ("ready-then-not", Fate::ReadyThenNot(Duration::from_secs(3))),
        ("flap", Fate::Flapping(Duration::from_secs(2))),
        ("badcfg", Fate::WrongConfig),
        ("badcmd", Fate::BadEntrypoint),
        ("oom", Fate::OutOfMemory),
        ("other-digest", Fate::OtherDigest),
        ("silent", Fate::Silent),
        ("refused", Fate::Refused),
        ("overquota", Fate::OverQuota),
    ];
    // `pull-refused` also contains `refused`: the first that fits is meant.
    WORDS.iter().find(|(word, _)| says(word)).map_or(Fate::Ready, |(_, fate)| fate.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_its_fate() {
        for (image, fate) in [
            ("ghcr.io/acme/worker:v1.2.3", Fate::Ready),
            ("127.0.0.1:5000/acme/worker", Fate::Ready),
            ("acme/worker:v1-crash@sha256:00", Fate::CrashAtStart),
            ("acme/crash:v1", Fate::Ready),
            ("acme/worker:crashing", Fate::Ready),
            ("acme/worker:slow20", Fate::Slow(Duration::from_secs(20))),
            ("acme/worker:v1-pull-refused", Fate::PullRefused),
            ("acme/worker:crash-after-ready", Fate::CrashAfterReady(Duration::from_secs(3))),
        ] {
            assert_eq!(Fates::default().of(image), fate, "{image}");
        }
    }

    #[test]
    fn what_was_set_wins_the_more_exact_first() {
        let fates = Fates::default();
        fates.set("v1.0.0-crash", Fate::Ready);
        assert_eq!(fates.of("acme/worker:v1.0.0-crash"), Fate::Ready);
        fates.set("acme/worker:v1.0.0-crash", Fate::Silent);
        assert_eq!(fates.of("acme/worker:v1.0.0-crash@sha256:00"), Fate::Silent);
        assert_eq!(fates.of("other/worker:v1.0.0-crash@sha256:00"), Fate::Ready);
        fates.set("sha256:00", Fate::OutOfMemory);
        assert_eq!(fates.of("x:v2@sha256:00"), Fate::OutOfMemory);
        fates.forget("v1.0.0-crash");
        assert_eq!(fates.of("other/worker:v1.0.0-crash"), Fate::CrashAtStart);
    }
}
