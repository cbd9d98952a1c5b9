fn main() -> std::process::ExitCode {
    boot::run("agent-core", agent_core::run)
}
