use registry::Registry;

use super::check::{Check, advice, broken, fine, wrong};
use crate::human::cut;

/// Pods cannot start without the secret that their image is pulled with.
pub(super) async fn pull_secrets(registry: &Registry) -> Check {
    let check = "pull secrets";
    let links = match registry.pull_secret_links().await {
        Ok(links) => links,
        Err(error) => return broken(check, &error),
    };
    let failing: Vec<String> = links
        .iter()
        .filter_map(|link| {
            let code = link.failure_code.as_deref()?;
            let why = link.failure_detail.as_deref().unwrap_or(code);
            Some(format!(
                "{}/{} of {}: {}",
                link.kube_namespace,
                link.secret_name,
                link.account,
                cut(why, 200)
            ))
        })
        .collect();
    if failing.is_empty() {
        return fine(check, format!("{} linked, and none could not be written", links.len()));
    }
    let fix = "mend the account's credential or the controller's rights; it tries again by itself";
    wrong(check, failing.join("; "), fix)
}

/// Three failures in a row pause an agent, and then nothing new runs.
pub(super) async fn paused(registry: &Registry) -> Check {
    let check = "rollouts";
    let agents = match registry.agents().await {
        Ok(agents) => agents,
        Err(error) => return broken(check, &error),
    };
    let paused: Vec<String> = agents
        .iter()
        .filter(|agent| agent.paused)
        .map(|agent| match &agent.paused_reason {
            Some(why) => format!("{} ({})", agent.agent_name, cut(why, 120)),
            None => agent.agent_name.clone(),
        })
        .collect();
    if paused.is_empty() {
        return fine(check, "no agent is paused".to_owned());
    }
    let fix = "`cogo explain <agent>` tells why, and `cogo agents resume <agent>` goes on";
    advice(check, format!("paused: {}", paused.join(", ")), fix)
}
