//! Runs the real `cogo` against real databases.

mod doctor;
mod errors;
mod follow;
mod help;
mod probe;
mod reports;
mod running;
