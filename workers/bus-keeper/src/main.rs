fn main() -> std::process::ExitCode {
    boot::run("bus-keeper", bus_keeper::run)
}
