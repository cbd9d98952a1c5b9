use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Assignment, BuildPlan, Payload};

/// Asks for code: by filling in a template set, or by an agent's command.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// Who makes it: `template`, or the name of a command in the worker's executors file.
    pub executor: String,
    /// For `template`: which set of templates, as in `rust`, and what to fill in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
    /// For a command: what it is asked to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Files it finds in its workspace: path and text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
    /// How what it makes is built and tested; found out from the files, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildPlan>,
    #[serde(default, rename = "__assignment")]
    pub assignment: Assignment,
}

impl Payload for Generate {
    const SERVICE: &'static str = "codegen";
    const ROLE: &'static str = "generate";
}
