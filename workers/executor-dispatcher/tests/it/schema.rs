use std::fs;

use crate::desk::Desk;

#[tokio::test]
async fn every_statement_of_the_crate_prepares() {
    let on = Desk::new().await;
    for statement in executor_dispatcher::statements() {
        let prepared = on.sql.prepare_typed(statement.sql, statement.types).await;
        let prepared = prepared.unwrap_or_else(|error| panic!("{}: {error:?}", statement.name));
        assert_eq!(prepared.params(), statement.types, "{}", statement.name);
    }
}

#[test]
fn no_statement_is_forgotten_in_the_list_of_all() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let texts = fs::read_dir(source).unwrap();
    let texts = texts.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let written: usize = texts.map(|text| text.matches(": Statement =").count()).sum();
    assert_eq!(executor_dispatcher::statements().len(), written);
}
