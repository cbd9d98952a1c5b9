//! What the keys do, and what is drawn then: both follow from the state alone.

use std::time::Duration;

use bus::{Activity, MessageState, Status, WorkerSeen};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use registry::Release;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::datetime;

use super::ask::Ask;
use super::draw::draw;
use super::keys::{Effect, Event, update};
use super::look::Look;
use super::state::{Messages, Pane, State, View};
use crate::explain::What;

const NOW: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);

fn route(route: &str, more: &serde_json::Value) -> serde_json::Value {
    let words: Vec<&str> = route.split('/').collect();
    let mut row = json!({ "service": words[0], "role": words[1], "shard": 0, "paused": false,
        "ready": 0, "later": 0, "behind": 0, "claimed": 0, "at_least": false, "oldest_s": null,
        "published": 0, "done": 0, "failed": 0, "letters": 0 });
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row
}

fn activity() -> Activity {
    let routes = json!([
        route(
            "code/build-test",
            &json!({ "ready": 10_000, "at_least": true, "oldest_s": 184.0,
            "published": 500, "done": 400, "failed": 12, "letters": 2, "claimed": 16 })
        ),
        route("codegen/generate", &json!({ "paused": true, "later": 3, "behind": 2 })),
        route("orchestrator/intent", &json!({})),
    ]);
    let whole = json!({ "read_at": "2026-11-21T12:00:00Z", "published_s": 10.0, "ended_s": 10.0,
        "routes": routes });
    serde_json::from_value(whole).unwrap()
}

fn worker(id: &str, state: &str, silent: u64) -> WorkerSeen {
    WorkerSeen {
        id: id.to_owned(),
        agent_name: "tester".to_owned(),
        service: Some("codegen".to_owned()),
        role: Some("generate".to_owned()),
        shards: None,
        tenant: None,
        host: None,
        version: Some("0.1.0".to_owned()),
        image: None,
        digest: None,
        release_id: None,
        state: state.to_owned(),
        drain_requested: state == "leaving",
        slots: 8,
        busy: 3,
        started_at: NOW,
        seen_at: NOW,
        silent: Some(Duration::from_secs(silent)),
    }
}

fn release(tag: &str, phase: &str, code: Option<&str>) -> Release {
    let row = json!({ "id": uuid::Uuid::new_v4(), "agent_name": "cogo-codegen-worker", "tag": tag,
        "digest": null, "rollout_status": "staged", "phase": phase, "wanted": true, "pinned": true,
        "canary": null, "built_by": null, "built_at": null, "changelog_url": null,
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "previous_tag": null,
        "rollback_of_tag": null, "failure_code": code, "failure_detail": null, "failed_in": null,
        "recorded_at": "2026-11-21T11:00:00Z", "requested_at": "2026-11-21T11:00:00Z",
        "started_at": null, "finished_at": null, "verdict_ms": null, "restored_ms": null,
        "took_ms": 12_400 });
    serde_json::from_value(row).unwrap()
}

fn look() -> Look {
    Look {
        activity: activity(),
        workers: vec![worker("codegen-1", "ready", 4), worker("codegen-2", "ready", 40)],
        rollouts: vec![
            release("v1.1.0", "verifying", None),
            release("v1.0.9", "rolled_back", Some("crashed")),
        ],
    }
}

fn message(id: i64, status: Status) -> MessageState {
    MessageState {
        id: id.try_into().unwrap(),
        route: "code/build-test/0".parse().unwrap(),
        status,
        attempts: 1,
        max_attempts: None,
        priority: 0,
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap(),
        traceparent: None,
        parent_id: None,
        replay_of: None,
        project_id: None,
        idempotency_key: None,
        ordering_key: None,
        created_at: NOW - Duration::from_secs(90),
        retry_at: (status == Status::Queued).then(|| NOW + Duration::from_secs(5)),
        expires_at: None,
        claimed_by: (status == Status::Claimed).then(|| "codegen-1".to_owned()),
        claimed_at: None,
        lease_until: None,
        done_at: None,
        error: (status != Status::Claimed).then(|| "boom\u{1b}[2J".to_owned()),
        last_error_at: None,
        result_snippet: None,
        result_url: None,
        cancel_requested: false,
        payload: None,
    }
}

fn seen() -> State {
    let mut state = State::new("db.internal/cogo".to_owned());
    assert_eq!(update(&mut state, Event::Looked(Ok(Box::new(look())), NOW)), None);
    state
}

fn press(state: &mut State, code: KeyCode) -> Option<Effect> {
    update(state, Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

/// Each key of a text, and what the last one leads to.
fn keys(state: &mut State, text: &str) -> Option<Effect> {
    let code = |key| match key {
        '\n' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        '<' => KeyCode::Esc,
        other => KeyCode::Char(other),
    };
    text.chars().map(|key| press(state, code(key))).last().flatten()
}

fn picture(state: &State, width: u16, height: u16) -> String {
    if width == 0 {
        // The test's backend has no words for it.
        return String::new();
    }
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, NOW)).unwrap();
    let text = terminal.backend().to_string();
    text.lines().map(|line| line.trim_matches('"').trim_end()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_panes_are_drawn_at_the_smallest_usual_size() {
    let mut state = seen();
    insta::assert_snapshot!("routes", picture(&state, 80, 24));
    press(&mut state, KeyCode::Tab);
    insta::assert_snapshot!("workers", picture(&state, 80, 24));
    press(&mut state, KeyCode::Tab);
    insta::assert_snapshot!("rollouts", picture(&state, 80, 24));
    press(&mut state, KeyCode::Tab);
    assert_eq!(state.pane, Pane::Routes, "and round");
    press(&mut state, KeyCode::BackTab);
    assert_eq!(state.pane, Pane::Rollouts);
}

#[test]
fn every_size_is_drawn_and_too_small_a_one_says_so() {
    let mut state = seen();
    keys(&mut state, "?");
    for (width, height) in [(0, 0), (1, 1), (39, 24), (80, 7), (40, 8), (80, 24), (300, 100)] {
        let drawn = picture(&state, width, height);
        let small = width < 40 || height < 8;
        assert_eq!(
            drawn.contains("this needs 40"),
            small && width > 20,
            "{width}x{height}:\n{drawn}"
        );
    }
}

#[test]
fn before_the_first_look_and_without_anything_there_it_says_so() {
    let mut state = State::new("db.internal/cogo".to_owned());
    assert!(picture(&state, 80, 24).contains("looking …"));
    let nothing = Activity { routes: Vec::new(), ..activity() };
    let nothing = Look { activity: nothing, workers: Vec::new(), rollouts: Vec::new() };
    update(&mut state, Event::Looked(Ok(Box::new(nothing)), NOW));
    for says in ["No route has ever had a message", "No worker is alive", "No release is recorded"]
    {
        assert!(picture(&state, 80, 24).contains(says), "{says}");
        for key in ['\n', 'j', 'G'] {
            assert_eq!(keys(&mut state, &key.to_string()), None, "there is nothing to look into");
        }
        press(&mut state, KeyCode::Tab);
    }
}

#[test]
fn a_database_that_is_away_is_said_beside_what_was_last_seen() {
    let mut state = seen();
    let away = |why: &str| Event::Looked(Err(why.to_owned()), NOW - Duration::from_secs(30));
    update(&mut state, away("could not reach the database"));
    update(&mut state, Event::Looked(Err("the same again".to_owned()), NOW));
    insta::assert_snapshot!("away", picture(&state, 80, 24));
    update(&mut state, Event::Looked(Ok(Box::new(look())), NOW));
    assert_eq!(state.trouble, None);
    assert!(!picture(&state, 80, 24).contains("not reachable"));
    let mut state = State::new("db.internal/cogo".to_owned());
    update(&mut state, away("could not reach the database"));
    assert!(picture(&state, 80, 24).contains("could not reach the database"));
}

#[test]
fn the_chosen_line_stays_what_it_is_of_when_lines_come_and_go() {
    let mut state = seen();
    keys(&mut state, "j");
    assert_eq!(state.route().unwrap().route().to_string(), "codegen/generate/0");
    let mut fewer = look();
    fewer.activity.routes.remove(0);
    update(&mut state, Event::Looked(Ok(Box::new(fewer)), NOW));
    assert_eq!(state.at(), Some(0), "it is the first now");
    assert_eq!(state.route().unwrap().route().to_string(), "codegen/generate/0");
    let mut other = look();
    other.activity.routes.remove(1);
    update(&mut state, Event::Looked(Ok(Box::new(other)), NOW));
    assert_eq!(state.at(), Some(0), "of what has gone, the first");
    for (text, at) in [("G", 1), ("k", 0), ("kkk", 0), ("jjjj", 1), ("g", 0)] {
        keys(&mut state, text);
        assert_eq!(state.at(), Some(at), "{text}");
    }
}

#[test]
fn a_change_is_made_only_after_yes() {
    let stage = || "code/build-test".parse().unwrap();
    let paused = || "codegen/generate".parse().unwrap();
    let route = || "code/build-test/0".parse().unwrap();
    for (text, ask, effect) in [
        ("p", Ask::Pause(stage()), Effect::Pause(stage(), true)),
        ("jp", Ask::Resume(paused()), Effect::Pause(paused(), false)),
        ("r", Ask::Replay(route(), 2), Effect::Replay(route())),
    ] {
        for no in ["n", "<", "\n", "q", "p", "j"] {
            let mut state = seen();
            assert_eq!(keys(&mut state, text), None);
            assert_eq!(state.ask.as_ref(), Some(&ask));
            assert_eq!(keys(&mut state, no), None, "{no:?} is not yes");
            assert_eq!(state.ask, None);
        }
        let mut state = seen();
        keys(&mut state, text);
        assert_eq!(keys(&mut state, "y"), Some(effect));
        assert_eq!(keys(&mut state, "y"), None, "once");
    }
    let mut state = seen();
    keys(&mut state, "r");
    insta::assert_snapshot!("sure", picture(&state, 80, 24));
}

#[test]
fn what_cannot_be_done_is_said_and_not_asked() {
    for (text, says) in [
        ("jr", "codegen/generate/0 has no dead letters"),
        ("\tp", "choose a route first"),
        ("\t\tr", "choose a route first"),
    ] {
        let mut state = seen();
        assert_eq!(keys(&mut state, text), None);
        assert_eq!(state.ask, None);
        assert!(picture(&state, 80, 24).contains(says), "{says}");
        keys(&mut state, "j");
        assert!(!picture(&state, 80, 24).contains(says), "the next key wipes it away");
    }
}

#[test]
fn what_came_of_it_is_told_and_looked_at_at_once() {
    let stage: model::Stage = "code/build-test".parse().unwrap();
    let route: model::Route = "code/build-test/0".parse().unwrap();
    for (event, says, well) in [
        (Event::Paused(stage.clone(), true, Ok(())), "code/build-test is paused", true),
        (Event::Paused(stage.clone(), false, Ok(())), "code/build-test goes on", true),
        (Event::Paused(stage, true, Err("no such luck".to_owned())), "no such luck", false),
        (Event::Replayed(route.clone(), Ok(1)), "1 dead letter of code/build-test/0 was", true),
        (Event::Replayed(route.clone(), Ok(1_000)), "r for more", true),
        (Event::Replayed(route, Err("gone".to_owned())), "gone", false),
    ] {
        let mut state = seen();
        assert_eq!(update(&mut state, event), Some(Effect::Look));
        assert_eq!(state.said.as_ref().unwrap().well, well);
        assert!(picture(&state, 80, 24).contains(says), "{says}");
    }
}

#[test]
fn one_looks_into_a_route_a_message_a_worker_and_a_release_and_comes_back() {
    let mut state = seen();
    let route: model::Route = "code/build-test/0".parse().unwrap();
    assert_eq!(keys(&mut state, "\n"), Some(Effect::Messages(route.clone())));
    assert!(picture(&state, 80, 24).contains("looking …"));
    let list =
        vec![message(7, Status::Claimed), message(8, Status::Queued), message(9, Status::Failed)];
    update(&mut state, Event::Messages(route.clone(), Ok(list)));
    insta::assert_snapshot!("messages", picture(&state, 80, 24));
    let again = Event::Looked(Ok(Box::new(look())), NOW);
    assert_eq!(update(&mut state, again), Some(Effect::Messages(route.clone())));
    assert_eq!(keys(&mut state, "r"), None);
    assert_eq!(state.ask.take(), Some(Ask::Replay(route.clone(), 2)), "also from here");

    let of = |id: i64| What::Message(id.try_into().unwrap());
    assert_eq!(keys(&mut state, "j\n"), Some(Effect::Explain(of(8))));
    let told = "message 8\n\nIt waits.\nline 3\nline 4".to_owned();
    update(&mut state, Event::Told(Ok(told)));
    insta::assert_snapshot!("story", picture(&state, 80, 12));
    keys(&mut state, "jj");
    assert!(!picture(&state, 80, 24).contains("message 8"), "it is scrolled away");
    assert_eq!(keys(&mut state, "<"), Some(Effect::Messages(route)));
    assert!(
        matches!(&state.view, View::Messages(Messages { chosen: Some(id), .. }) if id.get() == 8)
    );
    keys(&mut state, "<");
    assert!(matches!(state.view, View::Panes));

    assert_eq!(
        keys(&mut state, "\tj\n"),
        Some(Effect::Explain(What::Worker("codegen-2".to_owned())))
    );
    update(&mut state, Event::Told(Err("there is no such worker".to_owned())));
    assert!(picture(&state, 80, 24).contains("there is no such worker"));
    let rollout = state.rollouts()[0].id;
    assert_eq!(keys(&mut state, "<\t\n"), Some(Effect::Explain(What::Release(rollout))));
    assert_eq!(keys(&mut state, "q"), Some(Effect::Leave));
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let mut state = seen();
    keys(&mut state, "\n");
    let other: model::Route = "codegen/generate/0".parse().unwrap();
    update(&mut state, Event::Messages(other, Ok(vec![message(1, Status::Failed)])));
    assert!(matches!(&state.view, View::Messages(Messages { list: None, .. })));
    keys(&mut state, "<");
    update(&mut state, Event::Told(Ok("of something that was left".to_owned())));
    assert!(matches!(state.view, View::Panes));
}

#[test]
fn the_help_is_closed_by_any_key_and_control_c_leaves_from_everywhere() {
    let mut state = seen();
    keys(&mut state, "?");
    insta::assert_snapshot!("help", picture(&state, 80, 24));
    assert_eq!(keys(&mut state, "q"), None);
    assert!(!state.help);
    for text in ["", "?", "p", "\n", "\t\n"] {
        let mut state = seen();
        keys(&mut state, text);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(update(&mut state, Event::Key(key)), Some(Effect::Leave), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_order_of_keys_and_looks_breaks_it(
        steps in proptest::collection::vec(0..20_usize, 0..60), width in 0..120_u16, height in 0..40_u16
    ) {
        let mut state = State::new("db.internal/cogo".to_owned());
        for step in steps {
            let effect = match step {
                0 => update(&mut state, Event::Looked(Ok(Box::new(look())), NOW)),
                1 => {
                    let mut less = look();
                    less.activity.routes.truncate(1);
                    less.workers.clear();
                    update(&mut state, Event::Looked(Ok(Box::new(less)), NOW))
                }
                2 => update(&mut state, Event::Looked(Err("away".to_owned()), NOW)),
                3 => {
                    let route = "code/build-test/0".parse().unwrap();
                    let list = vec![message(7, Status::Claimed), message(9, Status::Failed)];
                    update(&mut state, Event::Messages(route, Ok(list)))
                }
                4 => update(&mut state, Event::Told(Ok("one\ntwo".to_owned()))),
                5 => press(&mut state, KeyCode::BackTab),
                6 => press(&mut state, KeyCode::PageDown),
                7 => press(&mut state, KeyCode::Up),
                other => {
                    let key = "\n\t<jkgGpry?n".chars().nth(other - 8).unwrap();
                    keys(&mut state, &key.to_string())
                }
            };
            if let Some(Effect::Pause(..) | Effect::Replay(_)) = effect {
                prop_assert_eq!(step, 8 + 9, "only y changes anything");
            }
            picture(&state, width, height);
        }
    }
}
