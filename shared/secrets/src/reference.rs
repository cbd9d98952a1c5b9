use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use model::CredentialRef;

/// For settings that name a secret, as in `#[arg(value_parser = secrets::reference())]`: clap's own
/// way would quote what it cannot parse, and who puts a secret there by mistake would find it in
/// the log.
pub fn reference() -> impl TypedValueParser<Value = CredentialRef> {
    Reference
}

#[derive(Clone)]
struct Reference;

impl TypedValueParser for Reference {
    type Value = CredentialRef;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<CredentialRef, Error> {
        let text = value.to_str().unwrap_or_default();
        text.parse::<CredentialRef>().map_err(|why| {
            let name = arg.map(|arg| format!("{arg}: ")).unwrap_or_default();
            Error::raw(ErrorKind::ValueValidation, format!("{name}{why}\n")).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_place_of_its_name_is_not_quoted_on_the_command_line() {
        let arg = Arg::new("credential").long("llm-credential").value_parser(reference());
        let command = Command::new("a").arg(arg);
        let parse =
            |text: &str| command.clone().try_get_matches_from(["a", "--llm-credential", text]);
        let found = parse("vault:kv/llm#key").unwrap();
        let reference = found.get_one::<CredentialRef>("credential").unwrap();
        assert_eq!(reference.to_string(), "vault:kv/llm#key");
        let error = parse("ghp_hunter2").unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("--llm-credential") && told.contains("no reference"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
