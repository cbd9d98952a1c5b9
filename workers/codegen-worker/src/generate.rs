use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use artifacts::{About, Artifact, ArtifactError, Place};
use bus::{InvalidPayload, NewEvent};
use child::Workspace;
use messages::{BuildTest, CodegenDone, CodegenFailed, CodegenStarted, Generate, Source, Usage};
use model::quote;
use telemetry::Chain;
use tracing::{info, warn};
use worker::{Cx, Failure, Received, Settle};

use crate::command::{Run, leave_out, until};
use crate::executors_file::TEMPLATE;
use crate::progress::Progress;
use crate::template_set::File;
use crate::trouble::{Next, Trouble};
use crate::workshop::Workshop;

/// One attempt at a message, from what is asked for to the settle with all that follows.
pub(crate) async fn handle(
    asked: Received<Generate>,
    cx: Cx,
    workshop: Workshop,
) -> Result<Settle, Failure> {
    let attempt = Attempt { asked: &asked, cx: &cx, workshop: &workshop, began: Instant::now() };
    let progress = Progress::new(&asked.payload.executor, asked.id);
    // Side by side: what is made does not wait until it is told that it is begun.
    let ((), (made, usage)) = tokio::join!(attempt.tell_start(), Box::pin(attempt.make(&progress)));
    let (settle, end) = match made {
        Ok(artifact) => attempt.done(&artifact, usage)?,
        Err(Trouble { next: Next::Stopped, what, .. }) => return Err(Failure::retry(what)),
        Err(trouble) => attempt.failed(&trouble, usage)?,
    };
    // What was said last belongs before the end.
    let settle = progress.take()?.into_iter().fold(settle, Settle::note);
    Ok(settle.note(end))
}

struct Attempt<'a> {
    asked: &'a Received<Generate>,
    cx: &'a Cx,
    workshop: &'a Workshop,
    began: Instant,
}

impl Attempt<'_> {
    async fn tell_start(&self) {
        let asked = &self.asked.payload;
        let started = CodegenStarted {
            executor: asked.executor.clone(),
            template: asked.template.clone(),
            model: asked.assignment.model.clone(),
            attempt: self.asked.attempt,
        };
        let event = self.event(NewEvent::of(&started));
        let told = match event {
            Ok(event) => self.cx.bus().emit(&[event.message(self.asked.id)]).await,
            Err(error) => return warn!(error = %Chain(&error), "could not write down the start"),
        };
        if let Err(error) = told {
            // The work itself may still come to an end that can be told.
            warn!(error = %Chain(&error), "could not tell of the start");
        }
    }

    async fn make(&self, progress: &Progress) -> (Result<Artifact, Trouble>, Usage) {
        let asked = &self.asked.payload;
        let until = until(self.asked.created_at, asked.assignment.ttl());
        if Instant::now() >= until {
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
            self.run_command(&workspace, until, progress).await
        };
        let made = match filled {
            Ok(()) if Instant::now() >= until => Err(Trouble::ttl_exceeded()),
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
        until: Instant,
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
        let run = Run { spec, asked, places: &places, until, progress };
        let (ran, usage) = run.run(workspace, self.workshop, self.cx).await;
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
            duration_ms: self.elapsed_ms(),
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
        Ok((settle, self.event(NewEvent::of(&event))?))
    }

    fn failed(&self, trouble: &Trouble, usage: Usage) -> Result<(Settle, NewEvent), Failure> {
        let Trouble { reason, what, next } = trouble;
        let event = CodegenFailed {
            executor: self.asked.payload.executor.clone(),
            attempt: self.asked.attempt,
            error: what.clone(),
            usage,
            duration_ms: self.elapsed_ms(),
            retried: *next == Next::Retry && !self.asked.is_last_attempt(),
        };
        warn!(error = what, codegen.reason = reason, "could not make code");
        let settle = match next {
            Next::Retry | Next::Stopped => Settle::retry(format!("{reason}: {what}")),
            Next::Fail => Settle::fail(*reason, what),
        };
        Ok((settle, self.event(NewEvent::of(&event))?.reason(*reason)))
    }

    /// As of the agent that the assignment names.
    fn event(&self, event: Result<NewEvent, InvalidPayload>) -> Result<NewEvent, InvalidPayload> {
        let agent = self.asked.payload.assignment.agent_id.clone();
        event.map(|event| match agent {
            Some(agent) => event.agent(agent),
            None => event,
        })
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
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
