use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Supabase, TestDb};

/// The program, set to one database, with nothing else in its environment.
pub(crate) struct Cogo {
    settings: Vec<(&'static str, String)>,
}

/// What a run of it said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Cogo {
    pub(crate) fn at(db: &TestDb) -> Self {
        Self::at_url(&db.url())
    }

    pub(crate) fn at_url(url: &str) -> Self {
        Self::nowhere().with("DATABASE_URL", url)
    }

    /// Without a connection to its database.
    pub(crate) fn over(supabase: &Supabase) -> Self {
        let key = supabase.secret_key().expose();
        Self::nowhere().with("SUPABASE_URL", &supabase.url()).with("SUPABASE_SECRET_KEY", key)
    }

    pub(crate) fn nowhere() -> Self {
        Self { settings: Vec::new() }
    }

    /// The last of a name counts.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.settings.push((name, value.to_owned()));
        self
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().expect("cogo can be run").into()
    }

    /// The answer of a run that must succeed, as a program reads it.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
        serde_json::from_str(&said.out).expect("one document")
    }

    /// Goes on until it is dropped.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Started(command.spawn().expect("cogo can be run"))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cogo"));
        command.env_clear().args(arguments);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it says text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

pub(crate) struct Started(pub(crate) Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A table or a page with one space between words and a word for each thing that differs from run
/// to run.
pub(crate) fn plain(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(plain_line).collect();
    lines.join("\n")
}

fn plain_line(line: &str) -> String {
    let mut plain: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_end_matches([',', ';']);
        let rest = &word[bare.len()..];
        let known = if ["ms", "s"].contains(&bare) && plain.last().is_some_and(|last| digits(last))
        {
            plain.pop();
            "TIME"
        } else if bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            "TRACE"
        } else if bare.len() == 10 && bare.starts_with("20") && digits(bare) {
            "DATE"
        } else if bare.contains(':') && digits(bare) {
            "CLOCK"
        } else {
            bare
        };
        plain.push(format!("{known}{rest}"));
    }
    plain.join(" ")
}

fn digits(word: &str) -> bool {
    word.chars().all(|mark| "0123456789.:-+".contains(mark))
}
