use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Under what conditions an execution runs: by which agent and model, for how long, at what cost.
/// It travels with the work, in `__assignment`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assignment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub budget: Budget,
    /// From the publishing of the execution until the target's work must have ended.
    pub ttl_ms: u64,
}

/// What one execution may spend.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Budget {
    pub max_cost_usd: f64,
    pub max_tokens: u64,
}

/// What it spent, as events carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Usage {
    pub cost_usd: f64,
    pub tokens: u64,
}

impl Assignment {
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }
}

impl Default for Assignment {
    fn default() -> Self {
        Self {
            agent_id: None,
            version: None,
            model: None,
            budget: Budget::default(),
            ttl_ms: 60_000,
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { max_cost_usd: 0.10, max_tokens: 200_000 }
    }
}

impl Budget {
    pub fn allows(&self, usage: &Usage) -> bool {
        usage.cost_usd <= self.max_cost_usd && usage.tokens <= self.max_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_the_defaults() {
        let assignment: Assignment = serde_json::from_str(r#"{"model": "small"}"#).unwrap();
        assert_eq!(assignment.ttl(), Duration::from_secs(60));
        assert_eq!(assignment.budget, Budget { max_cost_usd: 0.10, max_tokens: 200_000 });
        let wire = serde_json::to_string(&assignment).unwrap();
        assert_eq!(
            wire,
            r#"{"model":"small","budget":{"maxCostUsd":0.1,"maxTokens":200000},"ttl_ms":60000}"#
        );
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let error = serde_json::from_str::<Assignment>(r#"{"ttl": 5}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `ttl`"), "{error}");
        assert!(serde_json::from_str::<Assignment>(r#"{"budget": {"max_tokens": 5}}"#).is_err());
    }
}
