use secrets::{Secrets, SecretsSettings, Trouble};

use crate::server::{resolve, trouble};

#[tokio::test]
async fn variables_are_read_for_development_where_they_are_allowed() {
    let settings = SecretsSettings {
        secrets_allow: vec!["env:PATH".to_owned(), "env:COGO_TEST_NOTHING".to_owned()],
        secrets_env: true,
        ..SecretsSettings::default()
    };
    let secrets = Secrets::new(&settings).unwrap();
    let resolved = resolve(&secrets, "env:PATH").await.unwrap();
    assert!(resolved.value.expose().contains('/') && resolved.version.is_none());
    assert_eq!(resolved.through.to_string(), "the environment");
    assert_eq!(trouble(&secrets, "env:COGO_TEST_NOTHING").await, Trouble::NoSecret);
    assert_eq!(trouble(&secrets, "env:HOME").await, Trouble::NotAllowed);
}
