//! Our own small Realtime server, for a machine that has only Postgres.
