use artifacts::ArtifactError;
use attempt::Trouble;
use child::ChildError;
use telemetry::Chain;

/// As it is for whoever gets an artifact out of the store.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
pub(crate) fn no_artifact(error: ArtifactError) -> Trouble {
    let what = Chain(&error).to_string();
    match &error {
        ArtifactError::Refused(_) | ArtifactError::BadManifest { .. } => {
            Trouble::fail("artifact_refused", what)
        }
        ArtifactError::InvalidDigest(_) => Trouble::invalid(what),
        _ if error.is_worth_retrying() => Trouble::retry("artifact_unavailable", what),
        _ => Trouble::fail("artifact_unavailable", what),
    }
}

/// As it is for whoever runs a program.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
pub(crate) fn no_child(error: ChildError) -> Trouble {
    let what = Chain(&error).to_string();
    match &error {
        ChildError::NotFound { .. } | ChildError::Unreadable { .. } => {
            let help = miette::Diagnostic::help(&error);
            let help = help.map(|help| format!("; {help}")).unwrap_or_default();
            Trouble::fail("tool_missing", what + &help)
        }
        ChildError::Spawn(_) | ChildError::Sandbox { .. } | ChildError::Workspace { .. } => {
            Trouble::retry("sandbox_unavailable", what)
        }
    }
}
