//! `cargo run -p testkit -- stop`: stops the servers that tests share, unless a test uses them.

use std::process::ExitCode;

use testkit::Stopped;

fn main() -> ExitCode {
    if !std::env::args().skip(1).eq(["stop"]) {
        eprintln!("usage: testkit stop");
        return ExitCode::from(2);
    }
    match testkit::stop() {
        Ok(stopped) => {
            for server in stopped {
                match server {
                    Stopped::Now(home) => println!("stopped {}", home.display()),
                    Stopped::InUse(home) => println!("left {} running: in use", home.display()),
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("could not stop the test server: {error}");
            ExitCode::FAILURE
        }
    }
}
