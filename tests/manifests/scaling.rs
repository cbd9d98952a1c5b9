//! What autoscalers ask is asked here of a real database, as the role that they have.
use serde_json::Value;
use testkit::TestDb;
use tokio_postgres::Client;

use crate::rendered::{K8S, with_component};

const WORK: &str = "
    insert into public.agent_messages (service, role, payload)
        select 'codegen', 'generate', '{}' from generate_series(1, 5);
    insert into public.agent_messages (service, role, payload) values ('code', 'build-test', '{}');
    select public.bus_claim('somebody', '{codegen/generate/0}', 2)";

/// Its transaction is never committed: roles are a server's, and other databases are on it.
async fn autoscaler(test: &TestDb) -> Client {
    let client = test.client().await;
    client.batch_execute(WORK).await.unwrap();
    let sql = std::fs::read_to_string(format!("{K8S}/components/autoscale-keda/role.sql")).unwrap();
    let role = format!("autoscaler_{:016x}", rand::random::<u64>());
    let sql = sql.replace("cogo_autoscaler", &role);
    client.batch_execute(&format!("begin; {sql}; set local role {role}")).await.unwrap();
    client
}

#[tokio::test]
async fn keda_is_told_how_much_waits_and_is_being_worked_on() {
    let test = testkit::database().await;
    let client = autoscaler(&test).await;
    let mut asked = 0;
    for rendered in with_component("autoscale-keda", &["agents", "sandbox"]) {
        for scaler in rendered.of("ScaledObject") {
            let query = scaler.text("/spec/triggers/0/metadata/query");
            let depth: i64 = client.query_one(query, &[]).await.unwrap().get(0);
            let expected = match scaler.name() {
                "cogo-codegen-worker" => 5,
                "cogo-buildtest-worker" => 1,
                _ => 0,
            };
            assert_eq!(depth, expected, "{query}");
            asked += 1;
        }
    }
    assert_eq!(asked, 6);
}

#[tokio::test]
async fn an_exporter_is_told_the_same_and_may_read_nothing_else() {
    let test = testkit::database().await;
    let client = autoscaler(&test).await;
    let text = std::fs::read_to_string(format!("{K8S}/components/autoscale-hpa/queries.yaml"));
    let queries: Value = serde_saphyr::from_str(&text.unwrap()).unwrap();
    let query = queries["cogo_stage"]["query"].as_str().unwrap();
    let rows = client.query(query, &[]).await.unwrap();
    let depth = |service: &str| {
        rows.iter().find(|row| row.get::<_, &str>("service") == service).unwrap().get("depth")
    };
    assert_eq!((depth("codegen"), depth("code")), (5_i64, 1_i64));
    for other in ["select * from public.agent_messages", "select * from cogo.agent_messages"] {
        client.batch_execute("savepoint before").await.unwrap();
        let refused = client.query(other, &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{other}");
        client.batch_execute("rollback to before").await.unwrap();
    }
}
