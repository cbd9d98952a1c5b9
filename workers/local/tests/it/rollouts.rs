use crate::place::Place;
use crate::running::Said;

#[test]
fn the_demo_shows_tags_becoming_what_runs_and_bad_ones_going_back() {
    let place = Place::new();
    let mut command = place.command(&["demo", "--rollouts"]);
    // Everything as quick as it can be; what it takes by default is for measurements.
    command.env("ROLLOUT_SOAK", "1s").env("ROLLOUT_SILENT", "6s");
    let said = Said::from(command.output().unwrap());
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    for told in [
        "v1.0.0 is active after",
        "v1.1.0 is active after",
        "v1.1.1 is rolled back after",
        "v1.1.0 runs again (crashed:",
        "v1.1.0 runs again (silent:",
        "v1.1.3 is rejected; nothing was touched (image_missing:",
    ] {
        assert!(said.out.contains(told), "`{told}` is missing in\n{}", said.out);
    }
    let runs = said.out.lines().rev().find(|line| line.contains("active       active"));
    assert!(runs.is_some_and(|line| line.contains("v1.0.0")), "{}", said.out);
}
