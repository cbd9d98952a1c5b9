//! The lasting stack and what stands in for Supabase on it, with real servers in folders of their own.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod admitting;
mod clients;
mod functions;
mod holder;
mod keeping;
mod lasting;
mod passing;
mod refusing;
mod rest;
mod supabase;
mod surviving;
mod tunnelling;
