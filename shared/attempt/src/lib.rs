//! What a handler that runs programs tells while they run, and what becomes of an attempt that failed.
