fn main() -> std::process::ExitCode {
    boot::run("buildtest-worker", buildtest_worker::run)
}
