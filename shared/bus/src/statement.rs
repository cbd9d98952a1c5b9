use db::{Statement, Type};

use crate::{
    activity, beat, control, dead_letters, depth, disk, event, events, explain, fleet, health,
    history, insert, ordered_events, peek, publish, renew, settle, station, supabase, sweep,
};

/// Every statement of this crate is a static made here; a test prepares them all.
pub(crate) const fn statement(
    name: &'static str,
    sql: &'static str,
    types: &'static [Type],
) -> Statement {
    Statement { name, sql, types }
}

/// Whether an answer has as many rows as were asked for, so that there may be more.
pub(crate) fn full(rows: usize, most: i64) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= most)
}

/// All of them, for the test that prepares each.
#[doc(hidden)]
pub fn statements() -> Vec<&'static Statement> {
    vec![
        &activity::ACTIVITY,
        &activity::STANDING,
        &beat::BEAT,
        &control::CANCEL,
        &control::CANCEL_TRACE,
        &control::REPLAY,
        &control::PAUSE,
        &control::DRAIN,
        &dead_letters::LETTERS,
        &dead_letters::LETTER,
        &depth::DEPTH,
        &disk::DISK,
        &event::EMIT,
        &events::EVENTS_SINCE,
        &events::MESSAGES_SINCE,
        &events::NEWEST_EVENT,
        &events::NEWEST_MESSAGE,
        &explain::EXPLAIN,
        &explain::EVENT,
        &explain::HELD,
        &fleet::FLEET,
        &health::SERVER,
        &health::MISSING_ROLES,
        &health::LOOSE_ROLES,
        &health::UNPROTECTED_TABLES,
        &health::UNSAFE_FUNCTIONS,
        &health::KEEPER,
        &health::DEAD_SLEEPERS,
        &health::HOLDERS,
        &health::NOTIFY,
        &history::MESSAGE,
        &history::STATES,
        &history::TRACE_MESSAGES,
        &history::TRACE_EVENTS,
        &ordered_events::EVENTS_ANCHOR,
        &ordered_events::EVENTS_IN_ORDER,
        &ordered_events::EVENTS_BETWEEN,
        &ordered_events::TRACES_OVER,
        &ordered_events::TRACE_KNOWN,
        &ordered_events::OPEN_TO,
        &peek::PEEK,
        &insert::INSERT_ONE,
        &insert::INSERT,
        &publish::PUBLISH,
        &renew::RENEW,
        &settle::SETTLE,
        &settle::DONE,
        &station::CLAIM,
        &station::PARK,
        &station::UNPARK,
        &station::RING,
        &station::CLAIM_OR_PARK,
        &supabase::SCHEMA,
        &supabase::REALTIME,
        &supabase::RING_TOPIC,
        &sweep::SWEEP,
        &sweep::RETAIN,
    ]
}
