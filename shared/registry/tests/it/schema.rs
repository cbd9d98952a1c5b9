#[tokio::test]
async fn every_statement_of_the_crate_prepares() {
    testkit::database().await.prepares(&registry::statements()).await;
}

#[test]
fn every_statement_can_be_called_over_rest() {
    for statement in registry::statements() {
        assert!(statement.is_call(), "{}", statement.name);
    }
}

#[test]
fn no_statement_is_forgotten_in_the_list_of_all() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    testkit::all_are_listed(&registry::statements(), "registry.", sources);
}
