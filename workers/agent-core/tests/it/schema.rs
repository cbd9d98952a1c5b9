#[tokio::test]
async fn every_statement_of_the_crate_prepares() {
    testkit::database().await.prepares(&agent_core::statements()).await;
}

#[test]
fn every_statement_can_be_called_over_rest() {
    for statement in agent_core::statements() {
        assert!(statement.is_call(), "{}", statement.name);
    }
}

#[test]
fn no_statement_is_forgotten_in_the_list_of_all() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    testkit::all_are_listed(&agent_core::statements(), "agent_core.", sources);
}
