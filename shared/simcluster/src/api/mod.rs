//! The API as clients see it. A request goes through [`answer::answer`].

mod answer;
mod ask;
mod change;
mod discovery;
mod list;
mod openapi;
mod review;
mod serve;
mod table;
mod watch;

pub(crate) use serve::listen;
