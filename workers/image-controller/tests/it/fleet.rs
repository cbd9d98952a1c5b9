use testkit::TestDb;

/// Has a worker take all messages that there are, and fail them for good.
pub(crate) async fn fail_all(db: &TestDb, worker: &str) {
    let client = db.client().await;
    let sql = "select id, lease::text from public.bus_claim($1, array['codegen/generate/*'], 100)";
    let claimed = client.query(sql, &[&worker]).await.unwrap();
    assert!(!claimed.is_empty(), "there is work");
    for row in claimed {
        let outcome = serde_json::json!([{ "id": row.get::<_, i64>(0), "lease": row.get::<_, String>(1),
            "outcome": "fail", "reason": "test", "error": "it does not work" }]);
        let sql = "select accepted from public.bus_settle($1, $2)";
        let settled = client.query_one(sql, &[&worker, &outcome]).await.unwrap();
        assert!(settled.get::<_, bool>(0));
    }
}
