use testkit::{ImageFormat, ImageRegistry};

#[tokio::test]
async fn a_registry_serves_what_was_pushed_to_whoever_knows_the_password_and_ends() {
    let registry = ImageRegistry::start().await;
    let digest = registry.pusher().push("acme/app", "v1.2.3", &[("a", "b")]).await.unwrap();
    let platforms = ["linux/amd64", "linux/arm/v7"];
    let index =
        registry.pusher().push_index(ImageFormat::Docker, "acme/app", "v1.2.4", &platforms, &[]);
    let index = index.await.unwrap();
    assert_ne!(digest, index);

    let http = reqwest::Client::new();
    let url = |tag: &str| format!("http://{}/v2/acme/app/manifests/{tag}", registry.host());
    let anybody = http.get(url("v1.2.3")).send().await.unwrap();
    assert_eq!(anybody.status(), 401);
    for (tag, digest) in [("v1.2.3", digest), ("v1.2.4", index)] {
        let accept = "application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json";
        let request = http.get(url(tag)).header("accept", accept);
        let request = request.basic_auth(registry.user(), Some(registry.password().expose()));
        let found = request.send().await.unwrap().bytes().await.unwrap();
        assert_eq!(model::Digest::of(&found), digest);
    }

    let address = registry.host();
    drop(registry);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
