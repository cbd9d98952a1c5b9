use tracing_subscriber::filter::LevelFilter;

/// From now on, whatever anything in this process logs, however quietly, is kept.
pub(crate) fn collect() {
    testkit::keep_logs(LevelFilter::TRACE);
}
