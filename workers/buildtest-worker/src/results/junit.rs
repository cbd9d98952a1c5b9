use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node};

use super::tally::{Excerpts, Outcome, Tally};

/// A report is not larger, and a tree that has more files than this is not searched to its end.
const LARGEST: u64 = 16 << 20;
const MOST_ENTRIES: usize = 50_000;
const DEEPEST: usize = 16;

/// Regular files named as test tools name their reports. Links are never followed: a child may have
/// made them, and whatever is read here is read as us.
pub(crate) fn files(work: &Path) -> HashSet<PathBuf> {
    let (mut found, mut looked) = (HashSet::new(), 0);
    let mut open = vec![(work.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            looked += 1;
            if looked > MOST_ENTRIES {
                return found;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if kind.is_dir() && depth < DEEPEST && name != "node_modules" && name != ".git" {
                open.push((entry.path(), depth + 1));
            } else if kind.is_file() && is_report(&name, &entry.path()) {
                found.insert(entry.path());
            }
        }
    }
    found
}

fn is_report(name: &str, path: &Path) -> bool {
    let folders = ["test-results", "surefire-reports", "failsafe-reports", "junit"];
    let in_folder =
        path.components().any(|part| folders.iter().any(|name| part.as_os_str() == *name));
    let named = name.starts_with("TEST-") || name.contains("junit") || in_folder;
    named && Path::new(name).extension().is_some_and(|extension| extension == "xml")
}

/// None if it is no JUnit report.
pub(crate) fn read(path: &Path) -> Option<Tally> {
    if fs::symlink_metadata(path).ok()?.len() > LARGEST {
        return None;
    }
    parse(&fs::read_to_string(path).ok()?)
}

fn parse(text: &str) -> Option<Tally> {
    let document = Document::parse(text).ok()?;
    let root = document.root_element();
    if !matches!(root.tag_name().name(), "testsuites" | "testsuite") {
        return None;
    }
    let (mut tally, mut excerpts) = (Tally::default(), Excerpts::default());
    for case in root.descendants().filter(|node| node.has_tag_name("testcase")) {
        let attribute = |name| case.attribute(name).unwrap_or_default();
        let name = [attribute("classname"), attribute("name")].map(str::trim);
        let name = name.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
        let child =
            |names: &[&str]| case.children().find(|child| names.contains(&child.tag_name().name()));
        if let Some(failure) = child(&["failure", "error"]) {
            tally.count(&name, Outcome::Failed);
            excerpts.open(&name);
            lines(failure).for_each(|line| excerpts.push(line));
            excerpts.close();
        } else if child(&["skipped"]).is_some() {
            tally.count(&name, Outcome::Skipped);
        } else {
            tally.count(&name, Outcome::Passed);
        }
    }
    tally.explain(excerpts);
    Some(tally)
}

fn lines<'a>(failure: Node<'a, '_>) -> impl Iterator<Item = &'a str> {
    let message = failure.attribute("message").unwrap_or_default();
    let text = failure.text().unwrap_or_default();
    let all = message.lines().chain(text.lines());
    all.filter(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
        <testsuites><testsuite name="s" tests="4">
          <testcase classname="a.B" name="good" time="0.1"/>
          <testcase classname="a.B" name="bad"><failure message="1 != 2">at line 3</failure></testcase>
          <testcase name="broken"><error message="boom"/></testcase>
          <testcase classname="a.B" name="later"><skipped/></testcase>
        </testsuite></testsuites>"#;

    #[test]
    fn a_report_is_read() {
        let tally = parse(REPORT).unwrap();
        assert_eq!((tally.tests(), tally.failed, tally.skipped), (3, 2, 1));
        let bad = tally.cases.iter().find(|case| case.name == "a.B.bad").unwrap();
        assert_eq!(bad.excerpt.as_deref(), Some("1 != 2\nat line 3"));
    }

    #[test]
    fn what_is_no_report_is_not_read() {
        for text in ["", "<html/>", "<testsuite>", "<!DOCTYPE x [<!ENTITY a 'b'>]><testsuite/>"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn reports_are_found_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for made in ["target/nextest/ci", "build/test-results/x", "node_modules/a", "src"] {
            fs::create_dir_all(at(made)).unwrap();
        }
        for file in [
            "target/nextest/ci/junit.xml",
            "build/test-results/x/any.xml",
            "node_modules/a/junit.xml",
            "src/data.xml",
        ] {
            fs::write(at(file), REPORT).unwrap();
        }
        std::os::unix::fs::symlink(at("src/data.xml"), at("src/junit.xml")).unwrap();
        let mut found: Vec<_> = files(folder.path()).into_iter().collect();
        found.sort();
        assert_eq!(found, [at("build/test-results/x/any.xml"), at("target/nextest/ci/junit.xml")]);
    }
}
