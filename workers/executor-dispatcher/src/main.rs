fn main() -> std::process::ExitCode {
    boot::run("executor-dispatcher", executor_dispatcher::run)
}
