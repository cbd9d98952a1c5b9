use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use model::{Secret, duration};

/// Where secrets come from, and which of them may be read.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Secrets")]
pub struct SecretsSettings {
    /// Which secrets may be read here, as beginnings of references; without any, none.
    ///
    /// A mount or a path in Vault (vault:kv/codegen), a namespace or one Secret of Kubernetes
    /// (k8s:cogo-dev), a variable (env:LLM_KEY), or all of a kind (vault:*). Whole steps count:
    /// vault:kv/code does not allow vault:kv/codegen.
    // Kept as text, here and in all that could hold a secret by mistake: clap quotes what it cannot
    // parse.
    #[arg(long, env, value_delimiter = ',', value_name = "REFERENCES")]
    pub secrets_allow: Vec<String>,

    /// Allows env:NAME, which reads a variable of this process. For development.
    #[arg(long, env)]
    pub secrets_env: bool,

    /// How long a value is used before it is read again, at most; less where its lease is shorter.
    ///
    /// It is also how long a value goes on being used while Vault or Kubernetes cannot be reached.
    #[arg(long, env, default_value = "5m", value_name = "TIME", value_parser = duration)]
    pub secrets_cache: Duration,

    /// How long one answer of Vault or Kubernetes is waited for.
    #[arg(long, env, default_value = "5s", value_name = "TIME", value_parser = duration)]
    pub secrets_timeout: Duration,

    /// The address of Vault, as in https://vault.internal:8200.
    #[arg(long, env, value_name = "URL")]
    pub vault_addr: Option<String>,

    /// The namespace of Vault in which mounts and logins are looked for, where Vault has any.
    #[arg(long, env, value_name = "NAMESPACE")]
    pub vault_namespace: Option<String>,

    /// How this process logs in to Vault; unless set, told from what else is: token, then approle,
    /// then kubernetes.
    #[arg(long, env, value_enum, value_name = "METHOD")]
    pub vault_auth: Option<VaultAuth>,

    /// Where the login method is mounted, if not under its own name.
    #[arg(long, env, value_name = "MOUNT")]
    pub vault_auth_mount: Option<String>,

    /// For kubernetes: the role in Vault that this process' service account is bound to.
    #[arg(long, env, value_name = "ROLE")]
    pub vault_role: Option<String>,

    /// For kubernetes: the file with the service account's token, read anew at every login.
    #[arg(
        long,
        env,
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token",
        value_name = "FILE"
    )]
    pub vault_kubernetes_token_file: PathBuf,

    /// For approle: the role's id.
    #[arg(long, env, value_name = "ID", hide_env_values = true)]
    pub vault_role_id: Option<Secret>,

    /// For approle: the file with the secret id, or with the wrapping token that it is in.
    ///
    /// A new one in the same file is taken up at the next login.
    #[arg(long, env, value_name = "FILE")]
    pub vault_secret_id_file: Option<PathBuf>,

    /// For approle: whether that file holds a wrapping token. It can be used only once, so a stolen
    /// one does not go unnoticed; false takes a bare secret id.
    #[arg(long, env, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub vault_secret_id_wrapped: bool,

    /// For token: the file with the token, read again when Vault refuses the one before.
    #[arg(long, env, value_name = "FILE")]
    pub vault_token_file: Option<PathBuf>,

    /// For token: the token itself. Prefer the file: whoever may look at a process sees its
    /// environment and its command line.
    #[arg(long, env, value_name = "TOKEN", hide_env_values = true)]
    pub vault_token: Option<Secret>,

    /// A file of certificates (PEM) that Vault's is signed by; the system's unless set.
    #[arg(long, env, value_name = "FILE")]
    pub vault_cacert: Option<PathBuf>,

    /// How to reach Kubernetes from outside; inside a pod its service account is used.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VaultAuth {
    Kubernetes,
    #[value(name = "approle")]
    AppRole,
    Token,
}

impl VaultAuth {
    /// As Vault calls it, and mounts it unless told otherwise.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::AppRole => "approle",
            Self::Token => "token",
        }
    }
}

impl SecretsSettings {
    /// Whether a login to Vault takes something that can be used only once: the wrapping token of a
    /// secret id, which then lacks to whom it was given.
    pub fn login_uses_up(&self) -> bool {
        self.vault_addr.is_some()
            && self.auth() == VaultAuth::AppRole
            && self.vault_secret_id_wrapped
    }

    pub(crate) fn auth(&self) -> VaultAuth {
        self.vault_auth.unwrap_or(
            if self.vault_token.is_some() || self.vault_token_file.is_some() {
                VaultAuth::Token
            } else if self.vault_role_id.is_some() {
                VaultAuth::AppRole
            } else {
                VaultAuth::Kubernetes
            },
        )
    }
}

impl Default for SecretsSettings {
    /// As if nothing were set.
    fn default() -> Self {
        Self {
            secrets_allow: Vec::new(),
            secrets_env: false,
            secrets_cache: Duration::from_secs(300),
            secrets_timeout: Duration::from_secs(5),
            vault_addr: None,
            vault_namespace: None,
            vault_auth: None,
            vault_auth_mount: None,
            vault_role: None,
            vault_kubernetes_token_file: "/var/run/secrets/kubernetes.io/serviceaccount/token"
                .into(),
            vault_role_id: None,
            vault_secret_id_file: None,
            vault_secret_id_wrapped: true,
            vault_token_file: None,
            vault_token: None,
            vault_cacert: None,
            kubeconfig: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parse(arguments: &[&str]) -> SecretsSettings {
        let found = SecretsSettings::augment_args(Command::new("a"))
            .mut_args(|arg| arg.env(None::<&str>))
            .get_matches_from([&["a"], arguments].concat());
        SecretsSettings::from_arg_matches(&found).unwrap()
    }

    #[test]
    fn the_defaults_are_what_the_help_says_and_no_secret_is_shown() {
        assert_eq!(format!("{:?}", parse(&[])), format!("{:?}", SecretsSettings::default()));
        let parsed = parse(&["--vault-token=hunter2", "--vault-role-id=hunter2"]);
        assert!(!format!("{parsed:?}").contains("hunter2"));
    }

    #[test]
    fn how_to_log_in_is_told_from_what_is_set() {
        for (arguments, auth) in [
            (&[][..], VaultAuth::Kubernetes),
            (&["--vault-role-id=a"], VaultAuth::AppRole),
            (&["--vault-role-id=a", "--vault-token=b"], VaultAuth::Token),
            (&["--vault-token-file=/b"], VaultAuth::Token),
            (&["--vault-token=b", "--vault-auth=kubernetes"], VaultAuth::Kubernetes),
        ] {
            assert_eq!(parse(arguments).auth(), auth, "{arguments:?}");
        }
    }

    #[test]
    fn several_beginnings_are_allowed() {
        let parsed = parse(&["--secrets-allow=vault:kv/a,k8s:b", "--secrets-allow", "env:C"]);
        assert_eq!(parsed.secrets_allow, ["vault:kv/a", "k8s:b", "env:C"]);
        assert!(!parse(&["--vault-secret-id-wrapped=false"]).vault_secret_id_wrapped);
    }
}
