//! What a Kubernetes API server does, as far as Cogo leans on it.
//!
//! Every case runs against the stand-in, and against a real server too wherever
//! `COGO_TEST_KUBECONFIG` names one; `make test-k8s` builds and starts one.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod access;
mod apply;
mod bed;
mod kubectl;
mod many;
mod nodes;
mod objects;
mod patch;
mod rollout;
mod secret;
mod standin;
mod watch;
