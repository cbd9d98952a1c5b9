//! What SQL accepts in a column is what Rust can read from it.

use model::{AgentName, CredentialRef, Repo, Tag};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// What each pattern makes, what is near to it, and what is not.
async fn compare(function: &str, texts: Vec<String>, reads: impl Fn(&str) -> bool) {
    let test = testkit::database().await;
    let client = test.client().await;
    let sql = format!("select text, {function} from unnest($1::text[]) as text");
    let mut accepted = 0;
    for row in client.query(&sql, &[&texts]).await.unwrap() {
        let (text, sql): (&str, bool) = (row.get(0), row.get(1));
        assert_eq!(sql, reads(text), "{text:?}: SQL says {sql}");
        accepted += usize::from(sql);
    }
    assert!(accepted > texts.len() / 20, "nearly nothing was accepted, so nothing is compared");
    assert!(accepted < texts.len(), "everything was accepted, so nothing is compared");
}

fn texts(patterns: &[&str], more: &[&str]) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let mut texts: Vec<String> = more.iter().map(|text| (*text).to_owned()).collect();
    for pattern in patterns {
        let strategy = proptest::string::string_regex(pattern).unwrap();
        for _ in 0..600 {
            let tree = strategy.new_tree(&mut runner).unwrap();
            let text: String = tree.current();
            // Postgres knows no such character.
            texts.push(text.replace('\0', "?"));
        }
    }
    texts
}

#[tokio::test]
async fn tags() {
    let patterns = [
        "dev-[0-9]{14}",
        "dev-20[0-9]{2}(0[1-9]|1[0-2])[0-3][0-9][0-2][0-9][0-5][0-9][0-5][0-9]",
        "v[0-9]{1,2}\\.[0-9]{1,10}\\.[0-9]{1,2}(-[0-9a-g]{6,41})?",
        "(v|dev-)?[0-9.a-f-]{0,16}",
    ];
    let more = ["latest", "", "dev-00000101000000", "dev-20230229000000", "dev-20240229000000"];
    let kind = "coalesce(cogo.tag_kind(text), '') <> ''";
    compare(kind, texts(&patterns, &more), |text| text.parse::<Tag>().is_ok()).await;
}

#[tokio::test]
async fn names_of_agents() {
    let patterns = ["cogo-[a-z0-9]{1,5}(-[a-z0-9]{0,30}){0,3}", "[a-z]{4}-[a-z0-9-]{0,12}"];
    let constraint = "length(text) <= 63 and text ~ '^cogo-[a-z][a-z0-9]*(-[a-z0-9]+)+$'";
    // The very expression of the constraint, so that the two cannot drift apart unseen.
    let test = testkit::database().await;
    let client = test.client().await;
    let sql = "select replace(pg_get_constraintdef(oid), 'agent_name', 'text') from pg_constraint
        where conname = 'agent_name_is_cogo_domain_role'";
    let definition: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(definition.contains("^cogo-[a-z][a-z0-9]*(-[a-z0-9]+)+$"), "{definition}");
    compare(constraint, texts(&patterns, &[]), |text| text.parse::<AgentName>().is_ok()).await;
}

#[tokio::test]
async fn references() {
    let patterns = [
        "(k8s|vault|env):(//)?[a-zA-Z0-9._/-]{1,20}([#?][a-z=0-9]{0,9}){0,2}",
        "k8s:[a-z0-9-]{1,5}/[a-z0-9.-]{1,6}(#[-_.A-Za-z0-9]{0,4})?",
        "vault:[a-z%0-9A-F]{1,6}(/[a-z.%2F0]{0,4}){1,2}(\\?version=[0-9]{0,3})?(#[a-z]{0,3})?",
        "env:[A-Z0-9_a]{0,6}",
        "[ -~]{0,20}",
    ];
    let more = ["ghp_0123456789abcdef", "vault:secret/ghcr#token", "vault:a/b#c?version=2", ""];
    // `%ff` is no text; SQL does not decode it, and Rust refuses it when it is used.
    let texts = texts(&patterns, &more);
    let texts: Vec<String> = texts.into_iter().filter(|text| !decodes_badly(text)).collect();
    compare("cogo.is_reference(text)", texts, |text| text.parse::<CredentialRef>().is_ok()).await;
}

fn decodes_badly(text: &str) -> bool {
    let bytes: Vec<&str> = text.split('%').skip(1).collect();
    bytes.iter().any(|part| {
        let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        byte.is_none_or(|byte| byte >= 0x80 || byte == b'/' || byte == b'.')
    })
}

#[tokio::test]
async fn repositories() {
    let patterns = [
        "[a-z]{1,4}\\.[a-z]{2}(:[1-9][0-9]{0,3})?(/[a-z0-9]{1,4}([._-]{1,2}[a-z0-9]{1,3})?){1,3}",
        "(localhost|a|b\\.io)(:[0-9]{0,4})?/[a-z/._-]{0,9}",
    ];
    // What SQL lets through and Rust does not is refused when it is used: only that way round.
    let test = testkit::database().await;
    let client = test.client().await;
    let mut read = 0;
    for text in texts(&patterns, &[]).into_iter().filter(|text| text.parse::<Repo>().is_ok()) {
        let row = client.query_one("select cogo.is_repo($1::text)", &[&text]).await.unwrap();
        assert!(row.get::<_, bool>(0), "{text:?}");
        read += 1;
    }
    assert!(read > 100);
}
