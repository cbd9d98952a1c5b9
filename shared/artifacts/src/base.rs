use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};

use crate::{ArtifactError, ArtifactSettings, S3Style};

/// The place that `ARTIFACTS_BASE` names.
pub(crate) struct Base {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// What the path of an object is appended to for its URL.
    pub(crate) url: String,
}

pub(crate) fn open(settings: &ArtifactSettings) -> Result<Base, ArtifactError> {
    let base = settings.artifacts_base.as_deref().unwrap_or_default().trim();
    match base.split_once("://") {
        _ if base.is_empty() => Err(ArtifactError::NotConfigured),
        None => folder(Path::new(base)),
        Some(("file", path)) if path.starts_with('/') => folder(Path::new(path)),
        Some(("s3", place)) => s3(base, place, settings),
        Some(_) => Err(ArtifactError::InvalidBase {
            base: base.to_owned(),
            why: "only folders and s3:// are known".to_owned(),
        }),
    }
}

fn folder(path: &Path) -> Result<Base, ArtifactError> {
    let trouble = |source| ArtifactError::Folder { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(trouble)?;
    let path: PathBuf = path.canonicalize().map_err(trouble)?;
    let store = LocalFileSystem::new_with_prefix(&path).map_err(ArtifactError::store("begin"))?;
    // A message that names an artifact is on disk when it is published; so must the artifact be.
    let store = store.with_fsync(true);
    Ok(Base { store: Arc::new(store), url: format!("file://{}/", path.display()) })
}

fn s3(base: &str, place: &str, settings: &ArtifactSettings) -> Result<Base, ArtifactError> {
    let invalid = |why: String| ArtifactError::InvalidBase { base: base.to_owned(), why };
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err(invalid("it names no bucket".to_owned()));
    }
    let prefix = object_store::path::Path::parse(prefix)
        .map_err(|error| invalid(format!("its prefix is no path ({error})")))?;
    let key = |missing| ArtifactError::NoCredentials { missing };
    let id = settings.artifacts_s3_access_key_id.as_ref();
    let id = id.ok_or_else(|| key("an access key id"))?;
    let secret = settings.artifacts_s3_secret_access_key.as_ref();
    let secret = secret.ok_or_else(|| key("a secret access key"))?;
    use_ring();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&settings.artifacts_s3_region)
        .with_access_key_id(id.expose())
        .with_secret_access_key(secret.expose())
        .with_retry(patience())
        .with_virtual_hosted_style_request(settings.artifacts_s3_style == S3Style::Virtual);
    if let Some(endpoint) = &settings.artifacts_s3_endpoint {
        // A request is signed and the key itself never sent; who asks for http gets it.
        builder = builder
            .with_endpoint(endpoint.trim_end_matches('/'))
            .with_allow_http(endpoint.starts_with("http://"));
    }
    let store = builder.build().map_err(ArtifactError::store("begin"))?;
    let within = if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") };
    Ok(Base {
        store: Arc::new(PrefixStore::new(store, prefix)),
        url: format!("s3://{bucket}/{within}"),
    })
}

/// Longer is not ours to wait: the message that needs the artifact is tried again.
fn patience() -> RetryConfig {
    RetryConfig { max_retries: 4, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() }
}

/// The HTTP client takes the process's provider of TLS; the first to ask names it.
fn use_ring() {
    // Somebody did before us: it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Secret;

    fn with_keys(base: &str) -> ArtifactSettings {
        ArtifactSettings {
            artifacts_s3_access_key_id: Some(Secret::new("id".to_owned())),
            artifacts_s3_secret_access_key: Some(Secret::new("hunter2".to_owned())),
            artifacts_s3_endpoint: Some(
                "https://acme.storage.supabase.co/storage/v1/s3/".to_owned(),
            ),
            ..ArtifactSettings::at(base)
        }
    }

    #[test]
    fn a_base_is_a_folder_or_a_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().canonicalize().unwrap().join("a/b");
        let base = open(&ArtifactSettings::at(made.to_str().unwrap())).unwrap();
        assert_eq!(base.url, format!("file://{}/", made.display()));
        assert!(made.is_dir());
        for (base, url) in [
            ("s3://bucket", "s3://bucket/"),
            ("s3://bucket/", "s3://bucket/"),
            ("s3://bucket/some/prefix/", "s3://bucket/some/prefix/"),
        ] {
            assert_eq!(open(&with_keys(base)).unwrap().url, url);
        }
    }

    #[test]
    fn a_base_that_cannot_be_is_refused_with_the_reason() {
        for (settings, said) in [
            (ArtifactSettings::default(), "there is no place for artifacts"),
            (ArtifactSettings::at(" "), "there is no place for artifacts"),
            (
                ArtifactSettings::at("ftp://a/b"),
                "`ftp://a/b` is not a place for artifacts: only folders and s3:// are known",
            ),
            (with_keys("s3://"), "`s3://` is not a place for artifacts: it names no bucket"),
            (ArtifactSettings::at("s3://bucket"), "s3 storage needs an access key id"),
            (
                ArtifactSettings {
                    artifacts_s3_secret_access_key: None,
                    ..with_keys("s3://bucket")
                },
                "s3 storage needs a secret access key",
            ),
        ] {
            let Err(error) = open(&settings) else { panic!("{settings:?} was accepted") };
            assert_eq!(error.to_string(), said);
            assert!(!error.is_worth_retrying());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("below");
        let Err(error) = open(&ArtifactSettings::at(path.to_str().unwrap())) else {
            panic!("a folder below a file was made")
        };
        assert!(error.to_string().starts_with("could not use the folder "), "{error}");
    }
}
