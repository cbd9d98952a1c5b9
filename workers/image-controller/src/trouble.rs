use cluster::{ApplyError, Trouble};
use telemetry::Chain;

/// Why a Deployment cannot be changed, as the code and the words that a release fails with.
pub(crate) fn of_apply(error: &ApplyError) -> (&'static str, String) {
    let code = match error {
        ApplyError::NoDeployment { .. } => "no_deployment",
        ApplyError::NoContainer { .. } => "no_container",
        ApplyError::NotOurs { .. } => "not_ours",
        ApplyError::Overtaken { .. } => "overtaken",
        ApplyError::CannotTellApart { .. } => "cannot_tell_apart",
        ApplyError::Trouble { trouble, .. } => match trouble {
            Trouble::Unknown | Trouble::NoLogin | Trouble::Denied => "forbidden",
            Trouble::NotAdmitted { .. } => "not_admitted",
            Trouble::Invalid { .. } => "invalid",
            Trouble::NotFound
            | Trouble::Conflict
            | Trouble::Expired
            | Trouble::TooOften { .. }
            | Trouble::Broken { .. }
            | Trouble::Refused { .. }
            | Trouble::Unreachable { .. }
            | Trouble::TooSlow { .. }
            | Trouble::Unreadable
            | Trouble::TooMany { .. } => "kubernetes",
        },
    };
    (code, Chain(error).to_string())
}
