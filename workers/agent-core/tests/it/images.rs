use serde_json::json;

use crate::fixture::{Hall, SECRET_KEY, is_error};

#[tokio::test]
async fn a_build_records_its_tag_and_an_operator_promotes_it() {
    let hall = Hall::new().await;
    let images = "/v1/agents/cogo-codegen-worker/images";
    let new =
        json!({ "tag": "v1.0.0", "built_by": "ci", "changelog_url": "https://example.com/1" });
    let (status, first) = hall.core.post(images, SECRET_KEY, &new).await;
    assert_eq!((status, &first["phase"]), (202, &json!("recorded")), "{first}");
    let (_, again) = hall.core.post(images, SECRET_KEY, &new).await;
    assert_eq!((&again["id"], &again["attached"]), (&first["id"], &json!(true)));

    let promote = "/v1/agents/cogo-codegen-worker/promote";
    let (status, _) = hall.core.post(promote, SECRET_KEY, &json!({ "tag": "v1.0.0" })).await;
    assert_eq!(status, 202);
    let path = format!("/v1/releases/{}", first["id"].as_str().unwrap());
    let (status, release) = hall.core.get(&path, SECRET_KEY).await;
    assert_eq!(
        (status, &release["wanted"], &release["built_by"]),
        (200, &json!(true), &json!("ci"))
    );
    let (_, all) = hall.core.get(images, SECRET_KEY).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    let (_, agents) = hall.core.get("/v1/agents", SECRET_KEY).await;
    assert!(agents.as_array().unwrap().iter().any(|agent| agent["pinned_tag"] == "v1.0.0"));
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_the_reason() {
    let hall = Hall::new().await;
    let images = "/v1/agents/cogo-codegen-worker/images";
    for (path, body, status, why) in [
        (images, json!({ "tag": "latest" }), 400, "latest"),
        (images, json!({ "tag": "v1.0.0", "digest": "sha256:1" }), 400, "sha256:1"),
        (images, json!({ "tag": "v1.0.0", "tagg": "x" }), 400, "tagg"),
        (
            images,
            json!({ "tag": "v1.0.0", "changelog_url": "nothing" }),
            400,
            "changelog url is a url",
        ),
        ("/v1/agents/cogo-no-body/images", json!({ "tag": "v1.0.0" }), 404, "cogo-no-body"),
        ("/v1/agents/nobody/images", json!({ "tag": "v1.0.0" }), 404, "nobody"),
        ("/v1/agents/cogo-codegen-worker/promote", json!({ "tag": "v9.0.0" }), 404, "v9.0.0"),
        ("/v1/agents/cogo-codegen-worker/rollback", json!({}), 404, "no earlier release"),
    ] {
        let (told, answer) = hall.core.post(path, SECRET_KEY, &body).await;
        assert_eq!(told, status, "{body}: {answer}");
        assert!(is_error(&answer) && answer.to_string().contains(why), "{body}: {answer}");
    }
}
