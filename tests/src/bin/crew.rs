//! Every worker of the pipeline, for stories that run each in a process of its own.

fn main() -> std::process::ExitCode {
    // However the story ends, it leaves no worker behind.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    cli::main(local::workers())
}
