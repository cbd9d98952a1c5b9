use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use artifacts::Place;
use attempt::{Attempt, Trouble, clean, tail};
use child::{Child, Ended, How, Stream, Workspace};
use messages::{Generate, Usage};
use model::Secret;
use tokio_util::sync::CancellationToken;

use crate::env_reference::variable;
use crate::executors_file::{CommandSpec, PromptTo, VariableName, is_model};
use crate::figures::Meter;
use crate::placeholders::{Filling, Placeholders};
use crate::progress::Progress;
use crate::workshop::Workshop;

/// The kernel takes no longer argument, and says so in words that nobody understands.
const LONGEST_ARGUMENT: usize = 100_000;
/// Of what a failed command said, in the error.
const MOST_SAID: usize = 1_500;

/// One run of one command.
pub(crate) struct Run<'a> {
    pub(crate) spec: &'a CommandSpec,
    pub(crate) asked: &'a Generate,
    pub(crate) places: &'a [(Place, &'a str)],
    pub(crate) attempt: &'a Attempt<'a>,
    pub(crate) progress: &'a Progress,
}

impl Run<'_> {
    /// What it makes is left in the workspace. The figures are those of the run, however it ended.
    pub(crate) async fn run(
        &self,
        workspace: &Workspace,
        workshop: &Workshop,
    ) -> (Result<(), Trouble>, Usage) {
        let child = match self.prepare(workspace) {
            Ok(child) => child,
            Err(trouble) => return (Err(trouble), Usage::default()),
        };
        let meter = Mutex::new(Meter::new(&self.spec.output));
        let meter = || meter.lock().expect("nothing panics while it holds this");
        let too_much = CancellationToken::new();
        let budget = self.asked.assignment.budget;
        let on_line = |stream: Stream, line: &str| {
            let (said, usage) = match stream {
                Stream::Stdout => {
                    let mut meter = meter();
                    (meter.line(line), meter.usage())
                }
                Stream::Stderr => (Some(line.to_owned()), meter().usage()),
            };
            if let Some(said) = said {
                self.progress.push(&said, usage);
            }
            if !budget.allows(&usage) {
                too_much.cancel();
            }
        };
        let unwanted = async {
            tokio::select! {
                () = self.attempt.cx().stopped() => {}
                () = too_much.cancelled() => {}
            }
        };
        let running = workspace.run(child, on_line, unwanted);
        let event = |said| self.progress.event(said);
        let every = workshop.progress_every;
        let ended = self.progress.words.tell_while(self.attempt, every, event, running).await;
        let (said, usage) = {
            let mut meter = meter();
            (meter.finish(), meter.usage())
        };
        if let Some(said) = said {
            self.progress.push(&said, usage);
        }
        if !budget.allows(&usage) {
            return (Err(over(&self.asked.assignment.budget, &usage)), usage);
        }
        let result = match ended {
            Ok(ended) => self.judge(&ended),
            // Another replica may have what is missing here.
            Err(error) => Err(Trouble::retry_after("executor_unavailable", &error)),
        };
        (result, usage)
    }

    fn judge(&self, ended: &Ended) -> Result<(), Trouble> {
        let failed =
            |how: String| Err(Trouble::retry("command_failed", format!("{how}{}", said(ended))));
        match ended.how {
            How::Exited(0) => Ok(()),
            How::Stopped => Err(Trouble::stopped()),
            // Also told to stop, and it said so itself before we could.
            How::Exited(_) | How::Signalled(_) if self.attempt.cx().is_stopped() => {
                Err(Trouble::stopped())
            }
            How::Exited(code) => failed(format!("the command ended with {code}")),
            How::Signalled(signal) => failed(format!("the command was ended by signal {signal}")),
            How::OutOfMemory => failed("the command took more memory than CHILD_MEMORY".to_owned()),
            How::TimedOut if self.attempt.is_over() => Err(Trouble::ttl_exceeded()),
            How::TimedOut => Err(Trouble::retry(
                "command_timeout",
                format!("the command took longer than {:?}{}", self.spec.timeout, said(ended)),
            )),
        }
    }

    fn prepare(&self, workspace: &Workspace) -> Result<Child, Trouble> {
        let prompt = self.asked.prompt.as_deref();
        let prompt = prompt.ok_or_else(|| Trouble::invalid("a command needs a `prompt`"))?;
        let left = self.attempt.until().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::ttl_exceeded());
        }
        if self.spec.prompt == PromptTo::Argument && prompt.len() > LONGEST_ARGUMENT {
            let what = format!("this executor takes no prompt above {LONGEST_ARGUMENT} bytes");
            return Err(Trouble::invalid(what));
        }
        // Beside the workspace, so that it does not become a part of what is made.
        let prompt_file = workspace.home().join("prompt.txt");
        let written = self.write_context(workspace.work());
        let written = written.and_then(|()| match self.spec.prompt {
            PromptTo::File => fs::write(&prompt_file, prompt),
            PromptTo::Stdin | PromptTo::Argument => Ok(()),
        });
        written.map_err(|error| Trouble::retry_after("workspace_unavailable", &error))?;
        let handed_over = workspace.hand_over();
        handed_over.map_err(|error| Trouble::retry_after("workspace_unavailable", &error))?;
        let filling = Filling {
            model: self.model()?,
            prompt: Some(prompt),
            prompt_file: prompt_file.to_str(),
        };
        let mut child = self.child(workspace, &filling)?;
        if self.spec.prompt == PromptTo::Stdin {
            child.stdin = prompt.as_bytes().to_vec();
        }
        child.limits.time = self.spec.timeout.min(left);
        Ok(child)
    }

    fn child(&self, workspace: &Workspace, filling: &Filling<'_>) -> Result<Child, Trouble> {
        let no_model =
            || Trouble::invalid("this executor needs a model, and the assignment names none");
        let fill = |text: &Placeholders| text.fill(filling).ok_or_else(no_model);
        let argv: Vec<String> = self.spec.command.iter().map(fill).collect::<Result<_, _>>()?;
        let mut child = Child::new(argv, workspace);
        for name in &self.spec.env.copy {
            if let Some(value) = variable(name) {
                child.env.insert(name.into(), value.into());
            }
        }
        for (VariableName(name), value) in &self.spec.env.set {
            child.env.insert(name.into(), fill(value)?.into());
        }
        for (VariableName(name), reference) in &self.spec.env.secrets {
            let secret = reference.resolve().ok_or_else(|| {
                let what = format!("{reference} is not set where this worker runs");
                Trouble::retry("executor_unavailable", what)
            })?;
            child.env.insert(name.into(), secret.expose().into());
            child.redact.push(as_in_json(&secret));
            child.redact.push(secret);
        }
        child.network = self.spec.network;
        child.readable.clone_from(&self.spec.readable);
        Ok(child)
    }

    fn model(&self) -> Result<Option<&str>, Trouble> {
        match self.asked.assignment.model.as_deref().or(self.spec.model.as_deref()) {
            Some(model) if !is_model(model) => {
                Err(Trouble::invalid(format!("{} is not the name of a model", model::quote(model))))
            }
            model => Ok(model),
        }
    }

    fn write_context(&self, work: &Path) -> io::Result<()> {
        for (place, text) in self.places {
            let path = work.join(place.as_str());
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, text)?;
        }
        Ok(())
    }
}

/// Takes out what is no part of what was made. Only plain names come here, so nothing but what lies
/// in the workspace itself is touched; of a link, only the link.
pub(crate) fn leave_out(work: &Path, names: &[String]) -> io::Result<()> {
    for name in names {
        let path = work.join(name);
        let removed = match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}

/// A program that writes JSON writes some letters of a secret in another way.
fn as_in_json(secret: &Secret) -> Secret {
    let quoted = serde_json::Value::from(secret.expose()).to_string();
    Secret::new(quoted[1..quoted.len() - 1].to_owned())
}

fn over(budget: &messages::Budget, usage: &Usage) -> Trouble {
    let what = format!(
        "it took {} tokens and ${} where the assignment allows {} and ${}",
        usage.tokens, usage.cost_usd, budget.max_tokens, budget.max_cost_usd
    );
    Trouble::fail("budget_exceeded", what)
}

/// The last words, from wherever there are any.
fn said(ended: &Ended) -> String {
    let (stderr, stdout) = (clean(&ended.stderr.text()), clean(&ended.stdout.text()));
    let text = if stderr.trim().is_empty() { stdout } else { stderr };
    match tail(text.trim_end(), MOST_SAID) {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_taken_from_the_workspace_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (work, outside) = (folder.path().join("work"), folder.path().join("outside"));
        for path in [&work.join(".git/objects"), &outside] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(outside.join("file"), "").unwrap();
        std::os::unix::fs::symlink(&outside, work.join("node_modules")).unwrap();
        fs::write(work.join("kept"), "").unwrap();
        let names = [".git", "node_modules", "kept.not", "absent"].map(str::to_owned);
        leave_out(&work, &names).unwrap();
        let left: Vec<_> =
            fs::read_dir(&work).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(left, ["kept"]);
        assert!(outside.join("file").exists());
    }

    #[test]
    fn a_secret_is_known_as_json_writes_it() {
        assert_eq!(as_in_json(&Secret::new("a\"b\\c".to_owned())).expose(), r#"a\"b\\c"#);
    }
}
