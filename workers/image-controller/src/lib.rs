//! Brings releases onto Kubernetes, and takes bad ones back. Start at [`judge`].
pub mod judge;
