fn main() -> std::process::ExitCode {
    boot::run("codegen-worker", codegen_worker::run)
}
