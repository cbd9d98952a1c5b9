use model::Digest;

use crate::{OciError, Platform};

/// What a digest leads to: one image, or one for each of several platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    name: String,
    digest: Digest,
    platforms: Vec<(Platform, Digest)>,
}

impl Image {
    pub(crate) fn new(name: String, digest: Digest, platforms: Vec<(Platform, Digest)>) -> Self {
        Self { name, digest, platforms }
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.platforms.iter().map(|(platform, _)| platform)
    }

    /// Fails unless there is an image for each of these.
    pub fn must_serve(&self, needs: &[Platform]) -> Result<(), OciError> {
        needs.iter().try_for_each(|needs| self.for_platform(Some(needs)).map(|_| ()))
    }

    pub(crate) fn for_platform(&self, needs: Option<&Platform>) -> Result<Digest, OciError> {
        let serves = |platform: &Platform| needs.is_none_or(|needs| platform.serves(needs));
        let found = self.platforms.iter().find(|(platform, _)| serves(platform));
        found.map(|(_, digest)| *digest).ok_or_else(|| self.lacks(needs))
    }

    fn lacks(&self, needs: Option<&Platform>) -> OciError {
        let image = self.name.clone();
        let Some(needs) = needs else {
            return OciError::NotAnImage { image, what: "a list without images" };
        };
        let has: Vec<String> = self.platforms().map(Platform::to_string).collect();
        let has = if has.is_empty() { "nothing".to_owned() } else { has.join(", ") };
        OciError::NoPlatform { image, needs: needs.clone(), has }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_serves_the_platforms_that_it_has() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        let parts = [("linux/amd64", b"a"), ("linux/arm64", b"b")];
        let parts = parts.map(|(name, bytes)| (platform(name), Digest::of(bytes)));
        let image = Image::new("a.example/b".to_owned(), Digest::of(b"i"), parts.to_vec());
        assert!(image.must_serve(&[]).is_ok());
        assert!(image.must_serve(&parts.clone().map(|(platform, _)| platform)).is_ok());
        assert_eq!(
            image
                .must_serve(&[platform("linux/amd64"), platform("linux/s390x")])
                .unwrap_err()
                .to_string(),
            "`a.example/b` has no image for linux/s390x, but for: linux/amd64, linux/arm64",
        );
        assert_eq!(image.for_platform(Some(&platform("linux/arm64"))), Ok(Digest::of(b"b")));
        assert_eq!(image.for_platform(None), Ok(Digest::of(b"a")));

        let empty = Image::new("a.example/b".to_owned(), Digest::of(b"i"), Vec::new());
        assert!(matches!(empty.for_platform(None), Err(OciError::NotAnImage { .. })));
        let error = empty.must_serve(&[platform("linux/amd64")]).unwrap_err();
        assert!(error.to_string().ends_with("but for: nothing"), "{error}");
    }
}
