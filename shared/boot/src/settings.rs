use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::mistyped::{self, Mistyped};
use crate::settings_file::{InvalidSettingsFile, SettingsFile, names};

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Also `--help` and `--version`, which clap treats alike.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    #[error(transparent)]
    File(#[from] InvalidSettingsFile),
    #[error(transparent)]
    Environment(#[from] Mistyped),
}

impl Refused {
    /// Prints it where it belongs, and returns 2, or 0 for `--help` and `--version`.
    pub fn tell(self) -> ExitCode {
        match self {
            Self::CommandLine(error) => {
                // Nothing is left to be done if even stderr is closed.
                let _ = error.print();
                ExitCode::from(if error.use_stderr() { 2 } else { 0 })
            }
            Self::File(error) => {
                eprintln!("{:?}", miette::Report::new(error));
                ExitCode::from(2)
            }
            Self::Environment(error) => {
                eprintln!("{:?}", miette::Report::new(error));
                ExitCode::from(2)
            }
        }
    }
}

/// Parses `arguments`, taking what they do not say from the environment, and what that does not say
/// from the file given by `--settings`.
///
/// `command` must have the arguments of [`crate::ProcessSettings`], and may have subcommands.
pub fn matches(
    command: Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, Refused> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = hide_values(command);
    // The first look is only for `--settings`: what it finds missing may be in that file. Whatever
    // else is wrong is found again by the second.
    let first = command.clone().ignore_errors(true).try_get_matches_from(&arguments)?;
    let set: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
    mistyped::check(set.iter().map(OsString::as_os_str), &names(&command))?;
    let command = match first.get_one::<PathBuf>("settings") {
        Some(path) => SettingsFile::read(path, &command)?.apply(command),
        None => command,
    };
    Ok(command.try_get_matches_from(arguments)?)
}

/// By default clap's --help prints the value of every variable that is set, passwords included.
fn hide_values(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(hide_values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProcessSettings;
    use clap::{Args, FromArgMatches};
    use std::fs;
    use std::time::Duration;

    /// Greets.
    #[derive(Args, Debug, PartialEq)]
    struct Settings {
        // `PATH` stands for "set in the environment": a test cannot set variables safely.
        #[arg(long, env, default_value = "nowhere")]
        path: String,
        #[arg(long, env, value_parser = model::duration)]
        bus_lease: Duration,
        #[arg(long, env, value_delimiter = ',')]
        agent_shards: Vec<u32>,
        #[arg(long, env)]
        cautious: bool,
    }

    fn command() -> Command {
        Settings::augment_args(ProcessSettings::augment_args(Command::new("greeter")))
    }

    fn parse(file: &str, flags: &[&str]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings");
        fs::write(&path, file).unwrap();
        let settings = format!("--settings={}", path.display());
        let arguments = ["greeter", &settings].into_iter().chain(flags.iter().copied());
        let found = matches(command(), arguments.map(OsString::from));
        // The folder's name is random; the rest of what is said is not.
        let told =
            |refused: Refused| refused.to_string().replace(&path.display().to_string(), "settings");
        Ok(Settings::from_arg_matches(&found.map_err(told)?).unwrap())
    }

    #[test]
    fn a_file_supplies_what_neither_flags_nor_environment_say() {
        let file = "# leases\n\nBUS_LEASE = 5s\nAGENT_SHARDS=0,2\nCAUTIOUS='true'\nCOGO_LOG=warn\n";
        let settings = parse(file, &[]).unwrap();
        assert_eq!(settings.bus_lease, Duration::from_secs(5));
        assert_eq!(settings.agent_shards, [0, 2]);
        assert!(settings.cautious);
    }

    #[test]
    fn a_flag_wins_over_the_file_and_so_does_the_environment() {
        let settings = parse("BUS_LEASE=5s\nPATH=from-the-file\n", &["--bus-lease", "7s"]).unwrap();
        assert_eq!(settings.bus_lease, Duration::from_secs(7));
        assert_ne!(settings.path, "from-the-file");
        assert_ne!(settings.path, "nowhere", "PATH must be set for this test to mean something");
    }

    #[test]
    fn a_wrong_value_in_the_file_is_refused_as_on_the_command_line() {
        let told = parse("BUS_LEASE=5\n", &[]).unwrap_err();
        assert!(told.contains("invalid value '5' for '--bus-lease <BUS_LEASE>'"), "{told}");
    }

    #[test]
    fn what_is_missing_everywhere_is_asked_for() {
        let told = parse("", &[]).unwrap_err();
        assert!(told.contains("--bus-lease <BUS_LEASE>"), "{told}");
    }

    #[test]
    fn an_unknown_flag_is_refused_beside_a_settings_file() {
        let told = parse("BUS_LEASE=5s\n", &["--bus-leese", "7s"]).unwrap_err();
        assert!(told.contains("--bus-leese"), "{told}");
    }

    #[test]
    fn help_never_shows_what_is_in_the_environment_or_the_file() {
        let told = parse("BUS_LEASE=5s\nPATH=hunter2\n", &["--help"]).unwrap_err();
        assert!(told.contains("[env: PATH]"), "{told}");
        assert!(!told.contains("/bin") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_subcommand_takes_its_settings_from_the_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings");
        fs::write(&path, "BUS_LEASE=5s\n").unwrap();
        let cogo = ProcessSettings::augment_args(Command::new("cogo"))
            .subcommand(Settings::augment_args(Command::new("run")));
        let arguments = ["cogo", "run", "--settings", path.to_str().unwrap()];
        let found = matches(cogo, arguments.map(OsString::from)).unwrap();
        let run = found.subcommand_matches("run").unwrap();
        assert_eq!(Settings::from_arg_matches(run).unwrap().bus_lease, Duration::from_secs(5));
    }
}
