use clap::{Args, ValueEnum};
use model::Secret;

/// Where artifacts are kept.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Artifacts")]
pub struct ArtifactSettings {
    /// Where artifacts are kept: a folder, or s3://bucket/prefix.
    ///
    /// All workers of one bus need the same place. A folder is made if it is not there.
    #[arg(long, env, value_name = "PLACE")]
    pub artifacts_base: Option<String>,

    /// The address of an S3-compatible storage; Amazon's own unless set.
    ///
    /// For Supabase Storage: https://<project>.storage.supabase.co/storage/v1/s3.
    #[arg(long, env, value_name = "URL")]
    pub artifacts_s3_endpoint: Option<String>,

    /// The region of the bucket; of a Supabase project, the project's.
    #[arg(long, env, default_value = "us-east-1", value_name = "REGION")]
    pub artifacts_s3_region: String,

    /// The public half of the key pair for the bucket.
    #[arg(long, env, hide_env_values = true, value_name = "ID")]
    pub artifacts_s3_access_key_id: Option<Secret>,

    /// The secret half of the key pair for the bucket.
    #[arg(long, env, hide_env_values = true, value_name = "KEY")]
    pub artifacts_s3_secret_access_key: Option<Secret>,

    /// How the bucket is addressed: path (endpoint/bucket, which Supabase and MinIO need) or virtual
    /// (bucket.endpoint).
    #[arg(long, env, default_value = "path", value_enum, value_name = "STYLE")]
    pub artifacts_s3_style: S3Style,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum S3Style {
    #[default]
    Path,
    Virtual,
}

impl ArtifactSettings {
    /// The defaults, at this place.
    pub fn at(base: impl Into<String>) -> Self {
        Self {
            artifacts_base: Some(base.into()),
            artifacts_s3_region: "us-east-1".to_owned(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    #[test]
    fn the_defaults_are_what_the_help_says_and_no_key_is_shown() {
        let arguments = ["a", "--artifacts-base=/a", "--artifacts-s3-secret-access-key=hunter2"];
        let found = ArtifactSettings::augment_args(Command::new("a"))
            .mut_args(|arg| arg.env(None::<&str>))
            .get_matches_from(arguments);
        let parsed = ArtifactSettings::from_arg_matches(&found).unwrap();
        assert_eq!(parsed.artifacts_s3_secret_access_key.as_ref().unwrap().expose(), "hunter2");
        let shown = format!("{parsed:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let at = ArtifactSettings { artifacts_s3_secret_access_key: None, ..parsed };
        assert_eq!(format!("{at:?}"), format!("{:?}", ArtifactSettings::at("/a")));
    }
}
