use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use artifacts::{About, Artifact, ArtifactError, Place};
use attempt::{Attempt, Trouble};
use bus::NewEvent;
use child::Workspace;
use messages::{BuildTest, CodegenDone, CodegenFailed, CodegenStarted, Generate, Source, Usage};
use model::quote;
use telemetry::Chain;
use tracing::{info, warn};
use worker::{Cx, Failure, Received, Settle};

use crate::command::{Run, leave_out};
use crate::executors_file::TEMPLATE;
use crate::progress::Progress;
use crate::template_set::File;
use crate::workshop::Workshop;

/// One attempt at a message, from what is asked for to the settle with all that follows.
pub(crate) async fn handle(
    asked: Received<Generate>,
    cx: Cx,
    workshop: Workshop,
) -> Result<Settle, Failure> {
    let attempt = Attempt::begin(&asked, &asked.payload.assignment, &cx);
    let making = Making { asked: &asked, workshop: &workshop, attempt };
    let progress = Progress::new(&asked.payload.executor);
    // Side by side: what is made does not wait until it is told that it is begun.
    let ((), (made, usage)) = tokio::join!(making.tell_start(), Box::pin(making.make(&progress)));
    let (settle, end) = match made {
        Ok(artifact) => making.done(&artifact, usage)?,
        Err(trouble) => making.failed(&trouble, usage)?,
    };
    let settle = progress.words.note_last(settle, |said| progress.event(said))?;
    Ok(settle.note(end))
}

struct Making<'a> {
    asked: &'a Received<Generate>,
    workshop: &'a Workshop,
    attempt: Attempt<'a>,
}

impl Making<'_> {
    async fn tell_start(&self) {
        let asked = &self.asked.payload;
        let started = CodegenStarted {
            executor: asked.executor.clone(),
            template: asked.template.clone(),
            model: asked.assignment.model.clone(),
            attempt: self.asked.attempt,
        };
        self.attempt.tell("the start", self.attempt.event(&started)).await;
    }

    async fn make(&self, progress: &Progress) -> (Result<Artifact, Trouble>, Usage) {
        let asked = &self.asked.payload;
        if self.attempt.is_over() {
            return (Err(Trouble::ttl_exceeded()), Usage::default());
        }
        let workspace = match self.workshop.sandbox.workspace() {
            Ok(workspace) => workspace,
            Err(error) => {
                let trouble = Trouble::retry_after("workspace_unavailable", &error);
                return (Err(trouble), Usage::default());
            }
        };
        let (filled, usage) = if asked.executor == TEMPLATE {
            (self.fill_in(&workspace), Usage::default())
        } else {
            self.run_command(&workspace, progress).await
        };
        let made = match filled {
            Ok(()) if self.attempt.is_over() => Err(Trouble::ttl_exceeded()),
            Ok(()) => self.store(workspace.work()).await,
            Err(trouble) => Err(trouble),
        };
        workspace.remove().await;
        (made, usage)
    }

    fn fill_in(&self, workspace: &Workspace) -> Result<(), Trouble> {
        let asked = &self.asked.payload;
        if asked.prompt.is_some() || !asked.context.is_empty() {
            let what = "`prompt` and `context` are for commands; a template takes `params`";
            return Err(Trouble::invalid(what));
        }
        let name = asked.template.as_deref();
        let name = name.ok_or_else(|| Trouble::invalid("`template` must name a template set"))?;
        let files = self.workshop.templates.fill_in(name, &asked.params)?;
        let written = files.iter().try_for_each(|file| write(workspace.work(), file));
        written.map_err(|error| Trouble::retry_after("workspace_unavailable", &error))
    }

    async fn run_command(
        &self,
        workspace: &Workspace,
        progress: &Progress,
    ) -> (Result<(), Trouble>, Usage) {
        let asked = &self.asked.payload;
        let prepared = self.workshop.executors.get(&asked.executor).and_then(|spec| {
            if asked.template.is_some() || !asked.params.is_empty() {
                let what = "`template` and `params` are for the executor `template`";
                return Err(Trouble::invalid(what));
            }
            Ok((spec, places(asked, self.workshop)?))
        });
        let (spec, places) = match prepared {
            Ok(prepared) => prepared,
            Err(trouble) => return (Err(trouble), Usage::default()),
        };
        let run = Run { spec, asked, places: &places, attempt: &self.attempt, progress };
        let (ran, usage) = run.run(workspace, self.workshop).await;
        let cleaned = ran.and_then(|()| {
            let left_out = leave_out(workspace.work(), &spec.leave_out);
            left_out.map_err(|error| Trouble::retry_after("workspace_unavailable", &error))
        });
        (cleaned, usage)
    }

    async fn store(&self, work: &Path) -> Result<Artifact, Trouble> {
        let mut about = About::from([
            ("executor".to_owned(), self.asked.payload.executor.clone()),
            ("message".to_owned(), self.asked.id.to_string()),
            ("trace".to_owned(), self.asked.trace.to_string()),
        ]);
        if let Some(template) = &self.asked.payload.template {
            about.insert("template".to_owned(), template.clone());
        }
        let stored = self.workshop.store.put_tree(work, about, &self.workshop.bounds).await;
        match stored {
            Ok(artifact) if artifact.files == 0 => {
                Err(Trouble::retry("nothing_made", "it ended well and made no files"))
            }
            Ok(artifact) => Ok(artifact),
            // What a command made this time, it may not make the next time.
            Err(error @ ArtifactError::Refused(_)) => {
                Err(Trouble::retry_after("artifact_refused", &error))
            }
            Err(error) => Err(Trouble::retry_after("store_unavailable", &error)),
        }
    }

    fn done(&self, artifact: &Artifact, usage: Usage) -> Result<(Settle, NewEvent), Failure> {
        let asked = &self.asked.payload;
        let event = CodegenDone {
            executor: asked.executor.clone(),
            digest: artifact.digest.to_string(),
            url: artifact.url.clone(),
            files: artifact.files,
            bytes: artifact.bytes,
            usage,
            duration_ms: self.attempt.elapsed_ms(),
        };
        let next = BuildTest {
            source: Source::Artifact(artifact.digest.to_string()),
            build: asked.build.clone().unwrap_or_default(),
            assignment: asked.assignment.clone(),
        };
        let by = asked.template.as_deref().unwrap_or(&asked.executor);
        info!(codegen.digest = %artifact.digest, codegen.files = artifact.files, "made {} files by {by}", artifact.files);
        let settle = Settle::done()
            .result(format!("{} files by {by}, {}", artifact.files, artifact.digest))
            .result_url(&artifact.url)
            .publish(&next)?;
        Ok((settle, self.attempt.event(&event)?))
    }

    fn failed(&self, trouble: &Trouble, usage: Usage) -> Result<(Settle, NewEvent), Failure> {
        let settle = trouble.settle()?;
        let Trouble { reason, what, .. } = trouble;
        let event = CodegenFailed {
            executor: self.asked.payload.executor.clone(),
            attempt: self.asked.attempt,
            error: what.clone(),
            usage,
            duration_ms: self.attempt.elapsed_ms(),
            retried: trouble.is_retried(self.asked),
        };
        warn!(error = what, codegen.reason = reason, "could not make code");
        Ok((settle, self.attempt.event(&event)?.reason(*reason)))
    }
}

/// The context files, where they may lie.
fn places<'a>(asked: &'a Generate, workshop: &Workshop) -> Result<Vec<(Place, &'a str)>, Trouble> {
    let mut places: Vec<(Place, &str)> = Vec::with_capacity(asked.context.len());
    for (path, text) in &asked.context {
        let place = Place::parse(path.as_bytes(), &workshop.bounds)
            .map_err(|error| Trouble::invalid(format!("context: {}", Chain(&error))))?;
        let place = place.ok_or_else(|| Trouble::invalid("context: a file needs a name"))?;
        let in_the_way = |(other, _): &(Place, &str)| {
            let (one, other) = (place.as_str(), other.as_str());
            one == other || is_below(one, other) || is_below(other, one)
        };
        if places.iter().any(in_the_way) {
            let what = format!("context: {} is in the way of another file", quote(path));
            return Err(Trouble::invalid(what));
        }
        places.push((place, text));
    }
    Ok(places)
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn write(work: &Path, file: &File) -> io::Result<()> {
    let path = work.join(file.place.as_str());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // What says how it is run may be run.
    let mode = if file.content.starts_with(b"#!") { 0o755 } else { 0o644 };
    let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    io::Write::write_all(&mut made, &file.content)
}
