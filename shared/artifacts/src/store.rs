use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::buffered::BufWriter;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::Sha256;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use crate::base::{Base, open};
use crate::pack::{Packed, pack};
use crate::unpack::{Unpacked, unpack};
use crate::{About, ArtifactError, ArtifactSettings, Bounds, Digest, Manifest, Refusal};

/// The artifact store, as one process sees it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    store: Arc<dyn ObjectStore>,
    url: Arc<str>,
}

/// A stored tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub digest: Digest,
    /// Of the archive.
    pub bytes: u64,
    pub files: u64,
    /// Where the archive is: `file:///…` or `s3://…`.
    pub url: String,
}

/// An upload in one request up to here, and in parts beyond.
const ONE_PUT: usize = 8 * 1024 * 1024;

impl Store {
    /// Reaches no storage yet; fails only if the settings are wrong, or a folder cannot be made.
    pub fn connect(settings: &ArtifactSettings) -> Result<Self, ArtifactError> {
        let Base { store, url } = open(settings)?;
        Ok(Self { store, url: url.into() })
    }

    /// Stores all files below `folder` as one archive and a manifest. The same files always make the
    /// same archive, whatever their times and owners; links within become what they point to.
    pub async fn put_tree(
        &self,
        folder: &Path,
        about: About,
        bounds: &Bounds,
    ) -> Result<Artifact, ArtifactError> {
        let (folder, bounds) = (folder.to_owned(), *bounds);
        let packed = blocking(move || pack(&folder, &bounds)).await?;
        let Packed { file, digest, size, files } = packed;
        let key = blob(&digest);
        let count = files.len() as u64;
        let manifest = Manifest { digest, size, files, about };
        let archive = async {
            if !self.has(&key, size).await? {
                self.upload(&key, tokio::fs::File::from_std(file)).await?;
            }
            Ok(())
        };
        // Side by side, because each waits for the disk; nobody hears of the digest before both are
        // there.
        tokio::try_join!(archive, self.describe(&manifest))?;
        Ok(Artifact { digest, bytes: size, files: count, url: self.url_of(&key) })
    }

    /// Stores an archive that somebody else made, .tar.gz or .tar, without a manifest. What is in it
    /// is judged when it is unpacked.
    pub async fn put_archive(&self, archive: Vec<u8>) -> Result<Digest, ArtifactError> {
        let digest = Digest::of(&archive);
        self.put(&blob(&digest), archive).await?;
        Ok(digest)
    }

    /// Stores a report, JSON usually, and tells where it is.
    pub async fn put_report(&self, report: Vec<u8>) -> Result<String, ArtifactError> {
        let key = report_key(&Digest::of(&report));
        self.put(&key, report).await?;
        Ok(self.url_of(&key))
    }

    /// A report by the URL that [`Store::put_report`] gave.
    pub async fn report(&self, url: &str) -> Result<Vec<u8>, ArtifactError> {
        let none = || ArtifactError::NoReport { url: url.to_owned() };
        let key = url.strip_prefix(&*self.url).filter(|key| key.starts_with(REPORTS));
        let key = Key::parse(key.ok_or_else(none)?).map_err(|_| none())?;
        self.get(&key).await?.ok_or_else(none)
    }

    /// What is in an artifact; `None` if it has no manifest, as archives of others.
    pub async fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, ArtifactError> {
        let Some(text) = self.get(&manifest_key(digest)).await? else { return Ok(None) };
        let bad = |source| ArtifactError::BadManifest { digest: *digest, source };
        serde_json::from_slice(&text).map(Some).map_err(bad)
    }

    /// Unpacks an artifact into a folder that is empty or not there yet. On any error, and when the
    /// caller stops waiting, nothing of it remains.
    pub async fn unpack(
        &self,
        digest: &Digest,
        into: &Path,
        bounds: &Bounds,
    ) -> Result<Unpacked, ArtifactError> {
        let archive = self.fetch(digest, bounds).await?.into_std().await;
        let (into, bounds) = (into.to_owned(), *bounds);
        // A thread cannot be dropped, so it is told when nobody waits for it any more.
        let wanted = Arc::new(());
        let asked = Arc::downgrade(&wanted);
        blocking(move || unpack(archive, &into, &bounds, &|| asked.strong_count() > 0)).await
    }

    /// The archive in a file without a name, once its digest is known to be right.
    async fn fetch(
        &self,
        digest: &Digest,
        bounds: &Bounds,
    ) -> Result<tokio::fs::File, ArtifactError> {
        let found = self.store.get(&blob(digest)).await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => ArtifactError::NotFound { digest: *digest },
            source => ArtifactError::Store { what: "find an archive", source },
        })?;
        let trouble = || ArtifactError::io("write to a temporary file in", std::env::temp_dir());
        let file = blocking(move || tempfile::tempfile().map_err(trouble())).await?;
        let mut file = tokio::fs::File::from_std(file);
        let mut chunks = found.into_stream();
        let (mut hash, mut size) = (Sha256::default(), 0);
        while let Some(chunk) =
            chunks.try_next().await.map_err(ArtifactError::store("read an archive"))?
        {
            size += chunk.len() as u64;
            if size > bounds.packed {
                return Err(Refusal::Packed { most: bounds.packed }.into());
            }
            sha2::Digest::update(&mut hash, &chunk);
            file.write_all(&chunk).await.map_err(trouble())?;
        }
        let actual = Digest::from(hash);
        if actual != *digest {
            return Err(ArtifactError::WrongDigest { expected: *digest, actual });
        }
        file.flush().await.map_err(trouble())?;
        file.rewind().await.map_err(trouble())?;
        Ok(file)
    }

    async fn describe(&self, manifest: &Manifest) -> Result<(), ArtifactError> {
        let key = manifest_key(&manifest.digest);
        if self.size(&key).await?.is_some() {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(manifest).expect("a manifest is plain data");
        self.store
            .put(&key, text.into())
            .await
            .map(drop)
            .map_err(ArtifactError::store("write a manifest"))
    }

    async fn put(&self, key: &Key, bytes: Vec<u8>) -> Result<(), ArtifactError> {
        if !self.has(key, bytes.len() as u64).await? {
            let put = self.store.put(key, bytes.into()).await;
            put.map_err(ArtifactError::store("write an object"))?;
        }
        Ok(())
    }

    /// A file appears under its key when it is whole: renamed in a folder, completed in S3.
    async fn upload(&self, key: &Key, mut file: tokio::fs::File) -> Result<(), ArtifactError> {
        let mut upload = BufWriter::with_capacity(Arc::clone(&self.store), key.clone(), ONE_PUT);
        let sent = match tokio::io::copy(&mut file, &mut upload).await {
            Ok(_) => upload.shutdown().await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            // Its parts would cost money for ever.
            let _ = upload.abort().await;
            let source = object_store::Error::Generic { store: "artifacts", source: error.into() };
            return Err(ArtifactError::Store { what: "write an archive", source });
        }
        Ok(())
    }

    /// The key is made of the content, so an object of the same size is the same object; one of
    /// another size is damaged, and written anew.
    async fn has(&self, key: &Key, size: u64) -> Result<bool, ArtifactError> {
        Ok(self.size(key).await? == Some(size))
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, ArtifactError> {
        match self.store.head(key).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(ArtifactError::store("look for an object")(error)),
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ArtifactError> {
        let got = match self.store.get(key).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match got {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(ArtifactError::store("read an object")(error)),
        }
    }

    fn url_of(&self, key: &Key) -> String {
        format!("{}{key}", self.url)
    }
}

const REPORTS: &str = "reports/";

/// Folders by the first two digits, or one folder would hold everything.
fn blob(digest: &Digest) -> Key {
    let hex = digest.hex();
    Key::from(format!("blobs/sha256/{}/{hex}", &hex[..2]))
}

fn manifest_key(digest: &Digest) -> Key {
    let hex = digest.hex();
    Key::from(format!("manifests/sha256/{}/{hex}.json", &hex[..2]))
}

fn report_key(digest: &Digest) -> Key {
    let hex = digest.hex();
    Key::from(format!("{REPORTS}sha256/{}/{hex}.json", &hex[..2]))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    tokio::task::spawn_blocking(work).await.map_err(ArtifactError::Died)?
}
