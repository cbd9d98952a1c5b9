use std::sync::Arc;
use std::time::{Duration, Instant};

use artifacts::Store;
use bus::{InvalidPayload, NewEvent};
use child::{Child, How, Sandbox, Workspace};
use messages::{BuildReport, BuildTest, BuildtestDone, BuildtestFailed, BuildtestStarted};
use telemetry::Chain;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use worker::{Cx, Failure, Received, Settle};

use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{Ran, Report};
use crate::results::{Results, junit_files, junit_results};
use crate::settings::Building;
use crate::source;
use crate::trouble::{Next, Trouble};

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
    let until = until(asked.created_at, asked.payload.assignment.ttl());
    let attempt = Attempt { asked: &asked, cx: &cx, yard: &yard, until, began: Instant::now() };
    let progress = Progress::new(asked.id);
    // Side by side: the work does not wait until it is told that it is begun.
    let ((), tested) = tokio::join!(attempt.tell_start(), Box::pin(attempt.work(&progress)));
    let stored = match tested {
        Ok(report) => attempt.store(report).await,
        Err(trouble) => Err(trouble),
    };
    let (settle, event) = match stored {
        Ok((report, figures)) => attempt.done(&report, figures)?,
        Err(Trouble { next: Next::Stopped, what, .. }) => return Err(Failure::retry(what)),
        Err(trouble) => attempt.failed(&trouble)?,
    };
    // What was said last comes before the end.
    let settle = progress.take()?.into_iter().fold(settle, Settle::note);
    Ok(settle.note(event))
}

pub(crate) struct Attempt<'a> {
    pub(crate) asked: &'a Received<BuildTest>,
    pub(crate) cx: &'a Cx,
    pub(crate) yard: &'a Yard,
    /// When the assignment's time is over.
    pub(crate) until: Instant,
    began: Instant,
}

impl Attempt<'_> {
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Whatever waits for others, as long as it is wanted.
    pub(crate) async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Result<T, Trouble> {
        tokio::select! {
            done = timeout_at(self.until.into(), work) => done.map_err(|_| Trouble::ttl_exceeded()),
            () = self.cx.stopped() => Err(Trouble::stopped()),
        }
    }

    async fn tell_start(&self) {
        let started = BuildtestStarted {
            sandbox: self.yard.sandbox.layer().to_string(),
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

    async fn work(&self, progress: &Progress) -> Result<Report, Trouble> {
        if self.is_over() {
            return Err(Trouble::ttl_exceeded());
        }
        if self.asked.payload.build.network && !self.yard.building.buildtest_network {
            let what = "`build.network` is set, and this worker gives no network to commands; \
                        BUILDTEST_NETWORK=true lets messages ask for it";
            return Err(Trouble::fail("network_refused", what));
        }
        let workspace = self.yard.sandbox.workspace()?;
        let over = CancellationToken::new();
        let testing = async {
            let tested = Box::pin(self.build_and_test(&workspace, progress)).await;
            over.cancel();
            tested
        };
        let every = self.yard.building.buildtest_progress_every;
        let (tested, ()) = tokio::join!(testing, progress.tell(self.cx, every, &over));
        workspace.remove().await;
        tested
    }

    async fn build_and_test(
        &self,
        workspace: &Workspace,
        progress: &Progress,
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
            let ran = self.run(workspace, command, own_end, progress).await?;
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
        progress: &Progress,
    ) -> Result<Ran, Trouble> {
        let mut child = Child::new(&command, workspace);
        child.network = self.asked.payload.build.network;
        child.limits.time = own_end.min(self.until).saturating_duration_since(Instant::now());
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
        progress.push(&format!("$ {}", command.join(" ")));
        let mut results = Results::default();
        let on_line = |stream, line: &str| {
            progress.push(line);
            results.line(stream, line);
        };
        let ended = workspace.run(child, on_line, self.cx.stopped()).await?;
        match ended.how {
            How::Stopped => Err(Trouble::stopped()),
            How::TimedOut if self.is_over() => Err(Trouble::ttl_exceeded()),
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
        report.duration_ms = self.elapsed_ms();
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
            true => NewEvent::of(&BuildtestDone { report: figures }),
            false => {
                let event = BuildtestFailed { report: Some(figures), error: None, retried: false };
                NewEvent::of(&event).map(|event| event.reason("tests_failed"))
            }
        };
        Ok((Settle::done().result(snippet).result_url(url), self.event(event)?))
    }

    fn failed(&self, trouble: &Trouble) -> Result<(Settle, NewEvent), Failure> {
        let Trouble { reason, what, next } = trouble;
        let event = BuildtestFailed {
            report: None,
            error: Some(what.clone()),
            retried: *next == Next::Retry && !self.asked.is_last_attempt(),
        };
        warn!(error = what, buildtest.reason = reason, "could not build");
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

/// From what an assignment says to a moment of our own clock.
fn until(created_at: time::OffsetDateTime, ttl: Duration) -> Instant {
    let age = time::OffsetDateTime::now_utc() - created_at;
    // The clock of the database may be ahead of ours.
    let age = Duration::try_from(age).unwrap_or_default();
    Instant::now() + ttl.saturating_sub(age)
}
