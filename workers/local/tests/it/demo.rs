use crate::place::Place;
use crate::running::Said;

fn demo(place: &Place) -> Said {
    place.command(&["demo", "--template", "hello"]).output().unwrap().into()
}

#[test]
fn the_demo_shows_an_intent_on_its_way_to_tested_code_and_leaves_nothing_running() {
    let place = Place::new();
    let said = demo(&place);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let place_of = |part: &str| {
        said.out.find(part).unwrap_or_else(|| panic!("{part} is missing in\n{}", said.out))
    };
    let published =
        ["orchestrator/intent", "orchestrator/execute", "codegen/generate", "code/build-test"]
            .map(|stage| place_of(&format!("{:<22}  message ", format!("{stage}/0"))));
    assert!(published.is_sorted(), "{}", said.out);
    for part in ["POST http://127.0.0.1:", "4 messages", "all done", "passed: ", "artifact  /"] {
        place_of(part);
    }
    assert!(said.err.contains("export COGO_SETTINGS="), "{}", said.err);
    assert!(!place.data().join("postgres/data/postmaster.pid").exists());
}

#[test]
fn the_demo_uses_a_stack_that_runs_already_and_leaves_it_running() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let said = demo(&place);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.err.contains("using the stack that runs in"), "{}", said.err);
    assert_eq!(place.ask(&["trace", "1"]).code, Some(0));
}
