//! The way to secrets, against a Vault and a Kubernetes API.
//!
//! `suite.rs` and `wrapped.rs` run against our Vault always, and against a real one where VAULT_ADDR
//! and VAULT_TOKEN (of somebody who may mount stores and logins there) are set; a test of
//! `kubernetes.rs` asks a real cluster where KUBECONFIG and COGO_TEST_K8S_SECRET are.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod canary;
mod environment;
mod kubernetes;
mod lasting;
mod logs;
mod server;
mod suite;
mod wrapped;
mod wrong;
