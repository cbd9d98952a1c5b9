use serde_json::Value;

use crate::running::{Cogo, Said};

#[test]
fn every_way_a_worker_hears_is_measured_side_by_side() {
    let line = "bench bus --output json --messages 5 --via poll,realtime,postgres_changes";
    let mut command = Cogo::nowhere().command(&line.split(' ').collect::<Vec<_>>());
    command.env("COGO_POSTGREST", testkit::POSTGREST.find().unwrap());
    let said = Said::from(command.output().unwrap());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let latencies = report["latencies"].as_object().unwrap();
    let mut names: Vec<&str> = latencies.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "notify_round_trip",
            "via_direct_claim",
            "via_direct_publish",
            "via_direct_ring",
            "via_poll",
            "via_postgres_changes",
            "via_postgres_changes_claim",
            "via_postgres_changes_publish",
            "via_postgres_changes_ring",
            "via_realtime",
            "via_realtime_claim",
            "via_realtime_publish",
            "via_realtime_ring",
        ]
    );
    for (name, figure) in latencies {
        let of = |quantile: &str| figure[quantile].as_f64().unwrap();
        let (p50, p99, max) = (of("p50_ms"), of("p99_ms"), of("max_ms"));
        assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{name}: {figure}");
    }
    for ratio in ["via_realtime_ring_vs_direct_ring", "via_realtime_ring_vs_notify"] {
        assert!(report["ratios"][ratio].as_f64().unwrap() > 0.0, "{ratio}");
    }
    assert_eq!(report["rates"], Value::Object(serde_json::Map::new()));
}

#[test]
fn a_way_that_there_is_not_is_refused_with_the_nearest() {
    let said = Cogo::nowhere().run(&["bench", "bus", "--via", "direct,realtme"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("a similar value exists: 'realtime'"), "{}", said.err);
}
