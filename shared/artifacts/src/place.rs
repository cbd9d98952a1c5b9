use crate::{Bounds, Refusal};

/// Where in a tree something lies: a relative path of plain names. Whatever an archive says becomes
/// one of these or is refused, and only these are ever joined to a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(String);

/// What file systems take.
const LONGEST_NAME: usize = 255;

impl Place {
    /// `None` for the tree itself, as in `./`.
    pub fn parse(raw: &[u8], bounds: &Bounds) -> Result<Option<Self>, Refusal> {
        let Ok(text) = str::from_utf8(raw) else {
            let path = String::from_utf8_lossy(raw).into_owned();
            return Err(Refusal::Path { path, why: "it is not UTF-8" });
        };
        let unusable = |why| Err(Refusal::Path { path: text.to_owned(), why });
        if text.is_empty() {
            return unusable("it is empty");
        }
        if text.len() > bounds.path {
            return Err(Refusal::PathLength { path: text.to_owned(), most: bounds.path });
        }
        if text.starts_with('/') {
            return Err(Refusal::Absolute(text.to_owned()));
        }
        // A line break in a name would forge lines in every list it is printed in; a backslash is
        // a separator elsewhere.
        if text.chars().any(|letter| letter.is_control() || letter == '\\') {
            return unusable("it has a control character or a backslash in it");
        }
        let mut names = Vec::new();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => return Err(Refusal::Parent(text.to_owned())),
                long if long.len() > LONGEST_NAME => {
                    return Err(Refusal::PathLength { path: text.to_owned(), most: LONGEST_NAME });
                }
                name => names.push(name),
            }
        }
        if names.len() > bounds.depth {
            return Err(Refusal::Depth { path: text.to_owned(), most: bounds.depth });
        }
        Ok((!names.is_empty()).then(|| Self(names.join("/"))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders it lies in, the outermost first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = Self> {
        self.0.match_indices('/').map(|(end, _)| Self(self.0[..end].to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    fn parse(text: &str) -> Result<Option<Place>, Refusal> {
        Place::parse(text.as_bytes(), &Bounds::default())
    }

    #[test]
    fn a_place_is_a_relative_path_of_plain_names() {
        for (text, place) in [
            ("a", Some("a")),
            ("./a//b/", Some("a/b")),
            ("a/./b", Some("a/b")),
            ("..a/b..", Some("..a/b..")),
            ("./", None),
            (".", None),
        ] {
            assert_eq!(parse(text).unwrap().as_ref().map(Place::as_str), place, "{text}");
        }
        let folders: Vec<Place> = parse("a/b/c").unwrap().unwrap().folders().collect();
        assert_eq!(folders, [Place("a".to_owned()), Place("a/b".to_owned())]);
    }

    #[test]
    fn everything_else_is_refused() {
        for (text, why) in [
            ("", "`` is not a usable path: it is empty"),
            ("/a", "`/a` is an absolute path"),
            ("//a", "`//a` is an absolute path"),
            ("..", "`..` leads out of the tree with `..`"),
            ("a/../b", "`a/../b` leads out of the tree with `..`"),
            ("a/..", "`a/..` leads out of the tree with `..`"),
            (
                "a\nb",
                "`a\\nb` is not a usable path: it has a control character or a backslash in it",
            ),
            (
                "..\\b",
                "`..\\\\b` is not a usable path: it has a control character or a backslash in it",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), why);
        }
        let long = "n".repeat(256);
        assert!(matches!(parse(&long), Err(Refusal::PathLength { most: 255, .. })));
        assert!(matches!(parse(&"n/".repeat(600)), Err(Refusal::PathLength { most: 1024, .. })));
        assert!(matches!(parse(&"n/".repeat(65)), Err(Refusal::Depth { most: 64, .. })));
        assert!(Place::parse(b"a\xff", &Bounds::default()).is_err());
    }

    proptest! {
        #[test]
        fn no_place_leads_out_of_its_folder(raw in "[a./\\\\\0 ]{0,12}") {
            if let Ok(Some(place)) = parse(&raw) {
                let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
                prop_assert!(Path::new(place.as_str()).components().all(plain));
            }
        }
    }
}
