use std::sync::Arc;
use std::time::{Duration, Instant};

use artifacts::Store;
use attempt::{Attempt, Said, Trouble, Words, cut};
use bus::{InvalidPayload, NewEvent};
use child::{Child, How, Sandbox, Workspace};
use messages::{
    BuildReport, BuildTest, BuildtestDone, BuildtestFailed, BuildtestProgress, BuildtestStarted,
};
use tokio::time::timeout_at;
use tracing::{info, warn};
use worker::{Cx, Failure, Received, Settle};

use crate::plan::Plan;
use crate::report::{Ran, Report};
use crate::results::{Results, junit_files, junit_results};
use crate::settings::Building;
use crate::source;
use crate::trouble::no_child;

/// Everything a message is worked on with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Yard {
    pub(crate) store: Store,
    pub(crate) sandbox: Sandbox,
    pub(crate) building: Arc<Building>,
}

/// One attempt at a message, from what is asked for to the settle with all that follows.
pub(crate) async fn handle(
    asked: Received<BuildTest>,
    cx: Cx,
    yard: Yard,
) -> Result<Settle, Failure> {
    let attempt = Attempt::begin(&asked, &asked.payload.assignment, &cx);
    let testing = Testing { asked: &asked, yard: &yard, attempt };
    let words = Words::new(cut);
    // Side by side: the work does not wait until it is told that it is begun.
    let ((), tested) = tokio::join!(testing.tell_start(), Box::pin(testing.work(&words)));
    let stored = match tested {
        Ok(report) => testing.store(report).await,
        Err(trouble) => Err(trouble),
    };
    let (settle, event) = match stored {
        Ok((report, figures)) => testing.done(&report, figures)?,
        Err(trouble) => testing.failed(&trouble)?,
    };
    Ok(words.note_last(settle, progress)?.note(event))
}

pub(crate) struct Testing<'a> {
    pub(crate) asked: &'a Received<BuildTest>,
    pub(crate) yard: &'a Yard,
    pub(crate) attempt: Attempt<'a>,
}

impl Testing<'_> {
    /// Whatever waits for others, as long as it is wanted.
    pub(crate) async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Result<T, Trouble> {
        let until = self.attempt.until().into();
        tokio::select! {
            done = timeout_at(until, work) => done.map_err(|_| Trouble::ttl_exceeded()),
            () = self.attempt.cx().stopped() => Err(Trouble::stopped()),
        }
    }

    async fn tell_start(&self) {
        let started = BuildtestStarted {
            sandbox: self.yard.sandbox.layer().to_string(),
            attempt: self.asked.attempt,
        };
        self.attempt.tell("the start", self.attempt.event(&started)).await;
    }

    async fn work(&self, words: &Words) -> Result<Report, Trouble> {
        if self.attempt.is_over() {
            return Err(Trouble::ttl_exceeded());
        }
        if self.asked.payload.build.network && !self.yard.building.buildtest_network {
            let what = "`build.network` is set, and this worker gives no network to commands; \
                        BUILDTEST_NETWORK=true lets messages ask for it";
            return Err(Trouble::fail("network_refused", what));
        }
        let workspace = self.yard.sandbox.workspace().map_err(no_child)?;
        let testing = Box::pin(self.build_and_test(&workspace, words));
        let every = self.yard.building.buildtest_progress_every;
        let tested = words.tell_while(&self.attempt, every, progress, testing).await;
        workspace.remove().await;
        tested
    }

    async fn build_and_test(
        &self,
        workspace: &Workspace,
        words: &Words,
    ) -> Result<Report, Trouble> {
        source::bring(self, workspace).await?;
        let build = &self.asked.payload.build;
        let has = |name: &str| self.yard.sandbox.has_program(name);
        let plan = Plan::of(build, workspace.work(), &has)?;
        let mut report = self.empty_report();
        let before = junit_files(workspace.work());
        let limit = self.yard.building.buildtest_timeout;
        let limit = build.timeout_ms.map_or(limit, |asked| limit.min(Duration::from_millis(asked)));
        let own_end = Instant::now() + limit;
        for command in plan.commands {
            let ran = self.run(workspace, command, own_end, words).await?;
            let failed = !ran.passed;
            report.add(ran);
            if Instant::now() >= own_end || (failed && plan.stops_at_failure) {
                break;
            }
        }
        if report.tests == 0 {
            // What was said was none that we understand; files may still tell.
            let tally = junit_results(workspace.work(), &before);
            report.tests = tally.tests();
            report.skipped = tally.skipped;
            if let Some(last) = report.commands.last_mut().filter(|_| tally.tests() > 0) {
                // The command's own failure is what these tests are.
                report.failures = tally.failed.max(u64::from(!report.passed));
                report.passed &= tally.failed == 0;
                (last.tests, last.failures) = (tally.tests(), report.failures);
                last.skipped = tally.skipped;
                last.cases.extend(tally.cases);
            }
        }
        Ok(report)
    }

    async fn run(
        &self,
        workspace: &Workspace,
        command: Vec<String>,
        own_end: Instant,
        words: &Words,
    ) -> Result<Ran, Trouble> {
        let mut child = Child::new(&command, workspace);
        child.network = self.asked.payload.build.network;
        child.limits.time =
            own_end.min(self.attempt.until()).saturating_duration_since(Instant::now());
        for (name, value) in ENVIRONMENT {
            child.env.insert(name.into(), value.into());
        }
        if !child.network {
            for (name, value) in OFFLINE {
                child.env.insert(name.into(), value.into());
            }
        }
        if workspace.work().join("src").is_dir() {
            // Where Python looks for a package that is not installed.
            child.env.insert("PYTHONPATH".into(), workspace.work().join("src").into());
        }
        words.push(&format!("$ {}", command.join(" ")));
        let mut results = Results::default();
        let on_line = |stream, line: &str| {
            words.push(line);
            results.line(stream, line);
        };
        let ended = workspace.run(child, on_line, self.attempt.cx().stopped()).await;
        let ended = ended.map_err(no_child)?;
        match ended.how {
            How::Stopped => Err(Trouble::stopped()),
            How::TimedOut if self.attempt.is_over() => Err(Trouble::ttl_exceeded()),
            _ => Ok(Ran::new(command, &ended, results.finish())),
        }
    }

    fn empty_report(&self) -> Report {
        Report {
            message: self.asked.id.to_string(),
            trace: self.asked.trace.to_string(),
            source: self.asked.payload.source.clone(),
            sandbox: self.yard.sandbox.layer().as_str(),
            network: self.asked.payload.build.network,
            passed: true,
            tests: 0,
            failures: 0,
            skipped: 0,
            duration_ms: 0,
            commands: Vec::new(),
        }
    }

    async fn store(&self, mut report: Report) -> Result<(Report, BuildReport), Trouble> {
        report.duration_ms = self.attempt.elapsed_ms();
        let text = serde_json::to_vec_pretty(&report).expect("a report is plain data");
        let stored = self.unless_over(self.yard.store.put_report(text)).await?;
        let report_url =
            stored.map_err(|error| Trouble::retry_after("store_unavailable", &error))?;
        let figures = BuildReport {
            passed: report.passed,
            tests: report.tests,
            failures: report.failures,
            duration_ms: report.duration_ms,
            report_url,
        };
        Ok((report, figures))
    }

    fn done(&self, report: &Report, figures: BuildReport) -> Result<(Settle, NewEvent), Failure> {
        let BuildReport { passed, tests, failures, .. } = figures;
        if passed {
            info!(buildtest.tests = tests, "built, and {tests} tests passed");
        } else {
            let failed = report.failed();
            info!(buildtest.tests = tests, buildtest.failures = failures, "failed: {failed}");
        }
        let snippet = serde_json::to_string(&figures).expect("figures are plain data");
        let url = figures.report_url.clone();
        let event = match passed {
            true => self.attempt.event(&BuildtestDone { report: figures })?,
            false => {
                let event = BuildtestFailed { report: Some(figures), error: None, retried: false };
                self.attempt.event(&event)?.reason("tests_failed")
            }
        };
        Ok((Settle::done().result(snippet).result_url(url), event))
    }

    fn failed(&self, trouble: &Trouble) -> Result<(Settle, NewEvent), Failure> {
        let settle = trouble.settle()?;
        let Trouble { reason, what, .. } = trouble;
        let event = BuildtestFailed {
            report: None,
            error: Some(what.clone()),
            retried: trouble.is_retried(self.asked),
        };
        warn!(error = what, buildtest.reason = reason, "could not build");
        Ok((settle, self.attempt.event(&event)?.reason(*reason)))
    }
}

/// So that tools write for readers like us, and keep to themselves.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("CI", "1"),
    ("NO_COLOR", "1"),
    ("CARGO_TERM_COLOR", "never"),
    ("NPM_CONFIG_UPDATE_NOTIFIER", "false"),
    ("NPM_CONFIG_AUDIT", "false"),
    ("NPM_CONFIG_FUND", "false"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// So that tools say at once what they miss, instead of waiting for a network that is not there.
const OFFLINE: [(&str, &str); 4] = [
    ("CARGO_NET_OFFLINE", "true"),
    ("NPM_CONFIG_OFFLINE", "true"),
    ("GOPROXY", "off"),
    ("GOTOOLCHAIN", "local"),
];

/// What commands said, on its way.
fn progress(said: Said) -> Result<NewEvent, InvalidPayload> {
    let Said { text, left_out } = said;
    NewEvent::of(&BuildtestProgress { text, left_out })
}
