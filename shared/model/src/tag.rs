use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::quote;
use crate::text_type;

/// What a build is called: `dev-20261121093000` while developing, `v1.4.0` or `v1.4.0-1a2b3c4` in
/// production. Nothing else may be rolled out: a name that moves cannot be repeated or rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    text: Arc<str>,
    build: Build,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Build {
    /// The 14 digits as one number, which grows as time does.
    Dev(u64),
    Prod([u32; 3]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagKind {
    Dev,
    Prod,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is no tag for a release: {why}; write dev-YYYYMMDDHHMMSS or vX.Y.Z[-shortsha], as in \
     `dev-20261121093000`, `v1.4.0` or `v1.4.0-1a2b3c4`",
    quote(text)
)]
pub struct InvalidTag {
    text: String,
    why: &'static str,
}

type Reason = &'static str;

impl Tag {
    /// What the check constraints in SQL say about tags, which do not know the calendar; a test
    /// holds the two together.
    pub const PATTERN: &'static str = concat!(
        "^(dev-[0-9]{14}|",
        "v(0|[1-9][0-9]{0,8})\\.(0|[1-9][0-9]{0,8})\\.(0|[1-9][0-9]{0,8})(-[0-9a-f]{7,40})?)$"
    );

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn kind(&self) -> TagKind {
        match self.build {
            Build::Dev(_) => TagKind::Dev,
            Build::Prod(_) => TagKind::Prod,
        }
    }
}

/// Within its kind: by time, or by version. Two builds of one version, and a build for development
/// beside one for production, are neither before nor after each other.
impl PartialOrd for Tag {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let order = match (self.build, other.build) {
            (Build::Dev(one), Build::Dev(other)) => one.cmp(&other),
            (Build::Prod(one), Build::Prod(other)) => one.cmp(&other),
            (Build::Dev(_), Build::Prod(_)) | (Build::Prod(_), Build::Dev(_)) => return None,
        };
        (order != Ordering::Equal || self == other).then_some(order)
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        match parse(text) {
            Ok(build) => Ok(Self { text: text.into(), build }),
            Err(why) => Err(InvalidTag { text: text.to_owned(), why }),
        }
    }
}

fn parse(text: &str) -> Result<Build, Reason> {
    if let Some(time) = text.strip_prefix("dev-") {
        return dev(time).map(Build::Dev);
    }
    if let Some(version) = text.strip_prefix('v') {
        return prod(version).map(Build::Prod);
    }
    Err(match text {
        "" => EMPTY,
        "latest" | "dev" | "main" | "stable" | "edge" => MOVES,
        _ if text.contains(['/', ':', '@']) => WHOLE_IMAGE,
        _ if prod(text).is_ok() => NO_V,
        _ => NEITHER,
    })
}

const EMPTY: Reason = "it is empty";
const MOVES: Reason = "it names whatever was pushed last, which nobody can repeat or roll back to";
const WHOLE_IMAGE: Reason = "it is more than a tag; leave out the repository and the digest";
const NO_V: Reason = "a version begins with `v`";
const NEITHER: Reason = "it begins with neither `dev-` nor `v`";

fn dev(time: &str) -> Result<u64, Reason> {
    if time.len() != 14 || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NO_TIME);
    }
    let number = |from: usize, to: usize| time[from..to].parse::<u32>().expect("digits");
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    let exists = year > 0
        && (1..=12).contains(&month)
        && (1..=days(year, month)).contains(&day)
        && number(8, 10) < 24
        && number(10, 12) < 60
        && number(12, 14) < 60;
    if exists { Ok(time.parse().expect("14 digits")) } else { Err(NO_SUCH_TIME) }
}

const NO_TIME: Reason = "`dev-` is followed by the 14 digits of a time";
const NO_SUCH_TIME: Reason = "there is no such time";

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn prod(version: &str) -> Result<[u32; 3], Reason> {
    let (numbers, sha) = match version.split_once('-') {
        Some((numbers, sha)) => (numbers, Some(sha)),
        None => (version, None),
    };
    let mut parts = numbers.split('.').map(number);
    let mut next = || parts.next().flatten().ok_or(NO_VERSION);
    let version = [next()?, next()?, next()?];
    if parts.next().is_some() {
        return Err(NO_VERSION);
    }
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match sha {
        Some(sha) if !(7..=40).contains(&sha.len()) || !sha.bytes().all(hex) => Err(NO_SHA),
        _ => Ok(version),
    }
}

const NO_VERSION: Reason = "`v` is followed by three numbers of at most nine digits, without \
                            leading zeros";
const NO_SHA: Reason = "only a commit follows a version: 7 to 40 hexadecimal digits in lower case";

fn number(text: &str) -> Option<u32> {
    let plain = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| plain && !leading_zero)
}

impl fmt::Display for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.text)
    }
}

text_type!(Tag);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::matching;
    use proptest::prelude::*;

    fn tag(text: &str) -> Tag {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_tag_is_a_time_or_a_version() {
        let longest = format!("v999999999.0.0-{}", "f".repeat(40));
        for (text, kind) in [
            ("dev-20261121093000", TagKind::Dev),
            ("dev-20240229235959", TagKind::Dev),
            ("dev-20000229000000", TagKind::Dev),
            ("dev-00010101000000", TagKind::Dev),
            ("v0.0.0", TagKind::Prod),
            ("v1.4.0-1a2b3c4", TagKind::Prod),
            (&longest, TagKind::Prod),
        ] {
            assert_eq!((tag(text).kind(), tag(text).as_str()), (kind, text));
        }
    }

    #[test]
    fn anything_else_is_refused_and_says_why() {
        let long_sha = format!("v1.2.3-{}", "a".repeat(41));
        for (text, why) in [
            ("", EMPTY),
            ("latest", MOVES),
            ("dev", MOVES),
            ("main", MOVES),
            ("Latest", NEITHER),
            ("release-1", NEITHER),
            (" v1.2.3", NEITHER),
            ("1.2.3", NO_V),
            ("1.2.3-1a2b3c4", NO_V),
            ("ghcr.io/acme/app:v1.2.3", WHOLE_IMAGE),
            ("dev-", NO_TIME),
            ("dev-20261121", NO_TIME),
            ("dev-202611210930001", NO_TIME),
            ("dev-2026112109300x", NO_TIME),
            ("dev-+2026112109300", NO_TIME),
            ("dev-２０26112109", NO_TIME),
            ("dev-00000101000000", NO_SUCH_TIME),
            ("dev-20261301000000", NO_SUCH_TIME),
            ("dev-20260001000000", NO_SUCH_TIME),
            ("dev-20260100000000", NO_SUCH_TIME),
            ("dev-20260229000000", NO_SUCH_TIME),
            ("dev-19000229000000", NO_SUCH_TIME),
            ("dev-20260431000000", NO_SUCH_TIME),
            ("dev-20261121240000", NO_SUCH_TIME),
            ("dev-20261121236000", NO_SUCH_TIME),
            ("dev-20261121235960", NO_SUCH_TIME),
            ("v", NO_VERSION),
            ("v1", NO_VERSION),
            ("v1.2", NO_VERSION),
            ("v1.2.3.4", NO_VERSION),
            ("v1.2.", NO_VERSION),
            ("v01.2.3", NO_VERSION),
            ("v+1.2.3", NO_VERSION),
            ("v1.2.1000000000", NO_VERSION),
            ("v1.2.3+build", NO_VERSION),
            ("v1.2.3\n", NO_VERSION),
            ("v1.2.3-", NO_SHA),
            ("v1.2.3-rc1", NO_SHA),
            ("v1.2.3-1a2b3c", NO_SHA),
            ("v1.2.3-1A2B3C4", NO_SHA),
            ("v1.2.3-1a2b3c4-dirty", NO_SHA),
            (&long_sha, NO_SHA),
        ] {
            assert_eq!(text.parse::<Tag>(), Err(InvalidTag { text: text.to_owned(), why }));
        }
        assert_eq!(
            "latest".parse::<Tag>().unwrap_err().to_string(),
            "`latest` is no tag for a release: it names whatever was pushed last, which nobody can \
             repeat or roll back to; write dev-YYYYMMDDHHMMSS or vX.Y.Z[-shortsha], as in \
             `dev-20261121093000`, `v1.4.0` or `v1.4.0-1a2b3c4`",
        );
    }

    #[test]
    fn tags_of_one_kind_are_in_order() {
        use Ordering::{Equal, Greater, Less};
        for (one, other, order) in [
            ("dev-20261121093000", "dev-20261121093001", Some(Less)),
            ("dev-20270101000000", "dev-20261231235959", Some(Greater)),
            ("v1.9.0", "v1.10.0", Some(Less)),
            ("v2.0.0", "v1.99.99-1a2b3c4", Some(Greater)),
            ("v1.2.3-1a2b3c4", "v1.2.3-1a2b3c4", Some(Equal)),
            ("v1.2.3-1a2b3c4", "v1.2.3-4c3b2a1", None),
            ("v1.2.3", "v1.2.3-1a2b3c4", None),
            ("v1.2.3", "dev-20261121093000", None),
        ] {
            assert_eq!(tag(one).partial_cmp(&tag(other)), order, "{one} {other}");
            let reverse = order.map(Ordering::reverse);
            assert_eq!(tag(other).partial_cmp(&tag(one)), reverse, "{other} {one}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_pattern_makes_is_a_tag_unless_there_is_no_such_time(
            text in matching(Tag::PATTERN),
        ) {
            match text.parse::<Tag>() {
                Ok(tag) => prop_assert_eq!(tag.to_string(), text),
                Err(error) => prop_assert_eq!(error.why, NO_SUCH_TIME),
            }
        }

        #[test]
        fn every_time_that_exists_makes_a_tag_that_prints_as_it_is_parsed(
            year in 1..=9999u32,
            month in 1..=12u32,
            day in 1..=28u32,
            time in (0..24u32, 0..60u32, 0..60u32),
        ) {
            let (hour, minute, second) = time;
            let text = format!("dev-{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}");
            prop_assert_eq!(tag(&text).to_string(), text);
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_print_differently(
            text in "(dev-|v)?[0-9a-fé.-]{0,20}\\PC{0,3}",
        ) {
            if let Ok(tag) = text.parse::<Tag>() {
                prop_assert_eq!(tag.to_string(), text);
            }
        }
    }
}
