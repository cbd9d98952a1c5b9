use model::Digest;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Platform;

/// All four ways to write an image, for the `Accept` header: of one platform and of several, by OCI
/// and by Docker.
pub(crate) const MEDIA_TYPES: &str = concat!(
    "application/vnd.oci.image.index.v1+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, ",
    "application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.docker.distribution.manifest.v2+json"
);

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const IMAGES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What a tag or a digest leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    /// Of one platform, which its config tells.
    Image { config: Blob },
    /// Of several.
    Index(Vec<(Platform, Digest)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoManifest {
    Unreadable(&'static str),
    /// It is something, but no image.
    Other(&'static str),
}

impl Manifest {
    pub(crate) fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, NoManifest> {
        use NoManifest::{Other, Unreadable};
        let document: Document =
            serde_json::from_slice(body).map_err(|_| Unreadable("a manifest is JSON"))?;
        if document.schema_version == 1 {
            return Err(Other("one in Docker's schema 1, which nothing runs any more"));
        }
        // Two readers may each take another half of it for the whole.
        if document.manifests.is_some() && (document.config.is_some() || document.layers.is_some())
        {
            return Err(Other("both one image and a list of them"));
        }
        let said = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
        let said = said.filter(|text| INDEXES.contains(text) || IMAGES.contains(text));
        if let (Some(said), Some(media_type)) = (said, &document.media_type)
            && said != media_type
        {
            return Err(Unreadable("a manifest is of another type than it is called"));
        }
        let kind = document.media_type.as_deref().or(said);
        match (document.manifests, document.config) {
            (Some(entries), None) if kind.is_none_or(|kind| INDEXES.contains(&kind)) => {
                Ok(Self::Index(entries.into_iter().filter_map(Entry::image).collect()))
            }
            (None, Some(config)) if kind.is_none_or(|kind| IMAGES.contains(&kind)) => {
                if !CONFIGS.contains(&config.media_type.as_str()) {
                    return Err(Other("an artifact of another kind"));
                }
                let digest = config.digest.parse().map_err(|_| Unreadable(NO_DIGEST))?;
                Ok(Self::Image { config: Blob { digest, size: config.size } })
            }
            _ => Err(Other("a document of another kind")),
        }
    }
}

const NO_DIGEST: &str = "a manifest names its parts by sha256";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u8,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    platform: Option<PlatformWritten>,
}

#[derive(Deserialize)]
pub(crate) struct PlatformWritten {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl PlatformWritten {
    /// None of what builders put beside images: attestations are of `unknown/unknown`.
    pub(crate) fn read(&self) -> Option<Platform> {
        if self.os == "unknown" {
            return None;
        }
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

impl Entry {
    fn image(self) -> Option<(Platform, Digest)> {
        let image = self.media_type.is_empty() || IMAGES.contains(&self.media_type.as_str());
        let platform = self.platform.filter(|_| image)?.read()?;
        Some((platform, self.digest.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NoManifest::{Other, Unreadable};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn digest() -> Digest {
        Digest::of(b"a")
    }

    fn image(media_type: &str, config: &str) -> Value {
        json!({
            "schemaVersion": 2, "mediaType": media_type,
            "config": { "mediaType": config, "digest": digest(), "size": 7 },
            "layers": [],
        })
    }

    fn index(media_type: &str) -> Value {
        let entry = |os: &str, architecture: &str, variant: Option<&str>| {
            let platform = json!({ "os": os, "architecture": architecture, "variant": variant });
            json!({ "mediaType": IMAGES[0], "digest": digest(), "size": 7, "platform": platform })
        };
        let mut manifests = vec![
            entry("linux", "amd64", None),
            entry("linux", "arm64", Some("v8")),
            entry("unknown", "unknown", None),
            json!({ "mediaType": IMAGES[0], "digest": digest(), "size": 7 }),
        ];
        let mut nested = entry("linux", "s390x", None);
        nested["mediaType"] = json!(INDEXES[0]);
        manifests.push(nested);
        json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests })
    }

    fn parse(content_type: Option<&str>, value: &Value) -> Result<Manifest, NoManifest> {
        Manifest::parse(content_type, value.to_string().as_bytes())
    }

    #[test]
    fn all_four_ways_to_write_an_image_are_read() {
        for (media_type, config) in IMAGES.into_iter().zip(CONFIGS) {
            let expected = Manifest::Image { config: Blob { digest: digest(), size: 7 } };
            let value = image(media_type, config);
            assert_eq!(parse(Some(media_type), &value), Ok(expected));
        }
        for media_type in INDEXES {
            let two = ["linux/amd64", "linux/arm64"].map(|it| (it.parse().unwrap(), digest()));
            let value = index(media_type);
            assert_eq!(parse(Some(media_type), &value), Ok(Manifest::Index(two.to_vec())));
        }
        assert!(MEDIA_TYPES.split(", ").eq([INDEXES[0], INDEXES[1], IMAGES[0], IMAGES[1]]));
    }

    #[test]
    fn the_type_may_be_in_the_header_only_or_nowhere() {
        let mut value = image(IMAGES[0], CONFIGS[0]);
        value.as_object_mut().unwrap().remove("mediaType");
        for header in
            [None, Some("application/json"), Some(&*format!("{}; charset=utf-8", IMAGES[0]))]
        {
            assert!(parse(header, &value).is_ok(), "{header:?}");
        }
        assert_eq!(parse(Some(INDEXES[0]), &value), Err(Other("a document of another kind")));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let mut both = index(INDEXES[0]);
        both["layers"] = json!([]);
        let mut sha512 = image(IMAGES[0], CONFIGS[0]);
        sha512["config"]["digest"] = json!(format!("sha512:{}", "a".repeat(128)));
        for (content_type, value, expected) in [
            (
                None,
                json!({ "schemaVersion": 1, "fsLayers": [] }),
                Other("one in Docker's schema 1, which nothing runs any more"),
            ),
            (None, both, Other("both one image and a list of them")),
            (
                Some(INDEXES[0]),
                image(IMAGES[0], CONFIGS[0]),
                Unreadable("a manifest is of another type than it is called"),
            ),
            (
                None,
                image(IMAGES[0], "application/vnd.cncf.helm.config.v1+json"),
                Other("an artifact of another kind"),
            ),
            (
                None,
                image("application/vnd.oci.artifact.manifest.v1+json", CONFIGS[0]),
                Other("a document of another kind"),
            ),
            (None, index(IMAGES[0]), Other("a document of another kind")),
            (None, sha512, Unreadable(NO_DIGEST)),
            (None, json!({ "schemaVersion": 2 }), Other("a document of another kind")),
            (None, json!([]), Unreadable("a manifest is JSON")),
            (None, json!({ "errors": [] }), Unreadable("a manifest is JSON")),
        ] {
            assert_eq!(parse(content_type, &value), Err(expected), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let _ = Manifest::parse(None, &bytes);
        }
    }
}
