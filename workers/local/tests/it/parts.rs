use std::fs;
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::place::{Dev, Place};
use crate::running::Said;

fn status(place: &Place, arguments: &[&str]) -> Said {
    place.command(&[&["status"], arguments].concat()).output().unwrap().into()
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--noproxy", "*"]).args(arguments).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn status_tells_how_to_reach_what_runs_and_shows_keys_only_when_asked() {
    let place = Place::new();
    let said = status(&place, &[]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no local stack runs in"), "{}", said.err);
    assert!(said.err.contains("`cogo dev`"), "{}", said.err);

    let dev = place.dev(&["--only", "rest,agent-core,bus-keeper"]);
    let settings = place.env();
    let names: Vec<&str> = settings.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "COGO_API_URL",
            "DATABASE_URL",
            "SUPABASE_ANON_KEY",
            "SUPABASE_JWT_SECRET",
            "SUPABASE_PUBLISHABLE_KEY",
            "SUPABASE_SECRET_KEY",
            "SUPABASE_SERVICE_ROLE_KEY",
            "SUPABASE_URL",
        ]
    );
    let table = status(&place, &[]);
    let json = status(&place, &["-o", "json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["pid"], dev.child.id());
    assert_eq!(json["parts"]["rest"]["state"], "up", "{json}");
    for (name, value) in &settings {
        assert_eq!(json["env"][name], value.as_str());
        assert!(table.out.contains(name), "{}", table.out);
        let secret = !name.ends_with("_URL") || name == "DATABASE_URL";
        assert_eq!(table.out.contains(value), !secret, "{name} in {}", table.out);
    }
    assert!(table.out.contains("rest       up"), "{}", table.out);
    assert!(table.out.contains("functions  off"), "{}", table.out);

    // They are what they say.
    let url = format!("{}/rest/v1/bus_routes?select=service", settings["SUPABASE_URL"]);
    let key = |name: &str| format!("apikey: {}", settings[name]);
    assert_eq!(curl(&[&url, "-H", &key("SUPABASE_SECRET_KEY")]).chars().next(), Some('['));
    assert!(curl(&[&url, "-H", &key("SUPABASE_ANON_KEY")]).contains("42501"));
    assert!(curl(&[&url]).contains("has no API key"));
}

#[test]
fn only_some_parts_run_with_what_they_need_and_say_so() {
    let place = Place::new();
    let mut command = place.command(&["dev", "--only", "rest"]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut dev = Dev { child, lines };
    let said = dev.hears("Events as they happen");
    assert!(said.contains("also postgres, which that needs"), "{said}");
    assert!(said.contains("Cogo runs here: postgres, rest"), "{said}");
    assert!(said.contains(&format!("http://127.0.0.1:{} /rest/v1", place.gateway_port)), "{said}");
    assert!(said.contains("without functions: it was not chosen"), "{said}");
    let keys = fs::read_to_string(place.data().join("keys.env")).unwrap();
    for value in keys.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value) {
        assert!(!said.contains(value), "no key is shown");
    }
    let settings = place.env();
    assert!(!settings.contains_key("COGO_API_URL"), "no worker serves it");
    let listed = place.ask(&["workers", "list"]);
    assert!(listed.out.contains("no worker is alive"), "{}{}", listed.out, listed.err);
}

#[test]
fn a_part_that_nothing_is_called_and_a_folder_without_functions_are_refused() {
    let place = Place::new();
    let said = place.refused(&["dev", "--only", "rest,realtme"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("no part or worker realtme, did you mean realtime?"), "{}", said.err);
    let said = place.refused(&["dev", "--functions", "/nowhere"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no edge functions in /nowhere"), "{}", said.err);
    let taken = TcpListener::bind(("127.0.0.1", place.gateway_port.parse().unwrap())).unwrap();
    let said = place.refused(&["dev"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("--gateway-port"), "{}", said.err);
    assert!(!place.data().exists(), "nothing was begun");
    drop(taken);
}

#[test]
fn a_missing_program_costs_its_part_and_is_told_with_the_way_to_get_it() {
    let place = Place::new();
    let mut command = place.command(&["dev", "--only", "rest,functions,realtime"]);
    command.env("COGO_POSTGREST", "/nowhere/postgrest").env("COGO_DENO", "/nowhere/deno");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut dev = Dev { child, lines };
    let said = dev.hears("Events as they happen");
    let told = "without rest: COGO_POSTGREST says /nowhere/postgrest, and that is no program";
    assert!(said.contains(told), "{said}");
    let url = format!("http://127.0.0.1:{}", place.gateway_port);
    let answer = curl(&[
        &format!("{url}/rest/v1/x"),
        "-H",
        &format!("apikey: {}", place.env()["SUPABASE_SECRET_KEY"]),
    ]);
    assert!(answer.contains("rest does not run here: COGO_POSTGREST says"), "{answer}");
}
