use serde::Serialize;
use time::OffsetDateTime;

use crate::human::{clock, date};

/// What is told of a thing: a title, sentences, what happened when, and what one can do now.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Story {
    pub(crate) title: String,
    pub(crate) says: Vec<String>,
    pub(crate) steps: Vec<Step>,
    pub(crate) next: Vec<Next>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
    pub(crate) what: String,
}

/// A command, and what it is good for.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Next {
    pub(crate) run: String,
    pub(crate) why: String,
}

impl Story {
    pub(crate) fn titled(title: String) -> Self {
        Self { title, ..Self::default() }
    }

    pub(crate) fn say(&mut self, sentence: impl Into<String>) {
        self.says.push(sentence.into());
    }

    pub(crate) fn step(&mut self, at: OffsetDateTime, what: impl Into<String>) {
        self.steps.push(Step { at, what: what.into() });
    }

    /// The same command is told once, for its first reason.
    pub(crate) fn next(&mut self, run: impl Into<String>, why: impl Into<String>) {
        let run = run.into();
        if self.next.iter().all(|next| next.run != run) {
            self.next.push(Next { run, why: why.into() });
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut page = format!("{}\n", self.title);
        if !self.says.is_empty() {
            page.push('\n');
        }
        for sentence in &self.says {
            page.push_str(&format!("{sentence}\n"));
        }
        let mut day = String::new();
        for Step { at, what } in &self.steps {
            let today = date(*at)[..10].to_owned();
            if today != day {
                page.push_str(&format!("\n{today} UTC\n"));
                day = today;
            }
            page.push_str(&format!("  {}  {what}\n", clock(*at)));
        }
        if !self.next.is_empty() {
            page.push_str("\nwhat one can do\n");
            let widest = self.next.iter().map(|next| next.run.chars().count()).max();
            // A long command is no reason to push all reasons off the screen.
            let widest = widest.unwrap_or_default().min(44);
            for Next { run, why } in &self.next {
                page.push_str(&format!("  {run:<widest$}  {why}\n"));
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_story_names_each_day_once_and_each_command_once() {
        let mut story = Story::titled("message 1".to_owned());
        story.say("It waits.");
        story.step(datetime!(2026-11-20 23:59:59.5 UTC), "published");
        story.step(datetime!(2026-11-21 00:00:01 UTC), "claimed");
        story.step(datetime!(2026-11-21 00:00:02 UTC), "done");
        story.next("cogo trace 1", "shows all of it");
        story.next("cogo trace 1", "again");
        story.next("cogo bus replay 1", "repeats it");
        insta::assert_snapshot!(story.text(), @r"
        message 1

        It waits.

        2026-11-20 UTC
          23:59:59.500  published

        2026-11-21 UTC
          00:00:01.000  claimed
          00:00:02.000  done

        what one can do
          cogo trace 1       shows all of it
          cogo bus replay 1  repeats it
        ");
    }
}
