use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Secret;
use serde::Deserialize;
use tracing::error;
use vaultrs::api::AuthInfo;
use vaultrs::auth::{approle, kubernetes};
use vaultrs::sys::wrapping;
use vaultrs::token;

use super::wire::{Failure, Hint, Wire, is_printable};
use crate::settings::VaultAuth;
use crate::{InvalidSettings, SecretsSettings, Trouble};

/// How this process becomes known to Vault.
pub(super) struct Login {
    way: Way,
    mount: String,
}

enum Way {
    Kubernetes { role: String, file: PathBuf },
    AppRole { role_id: Secret, file: PathBuf, wrapped: bool },
    TokenFile(PathBuf),
    Token(Secret),
}

/// The secret id that came out of a wrapping token, which gives it out only once.
pub(super) struct Held {
    secret_id: Secret,
    wrapped_in: Secret,
}

/// A token as it was given to us.
pub(super) struct Given {
    pub(super) token: Secret,
    /// None lasts for ever.
    pub(super) ttl: Option<Duration>,
    pub(super) renewable: bool,
}

impl Login {
    pub(super) fn new(settings: &SecretsSettings) -> Result<Self, InvalidSettings> {
        let auth = settings.auth();
        let missing = |needs| InvalidSettings::Login { auth, needs };
        let way = match auth {
            VaultAuth::Kubernetes => Way::Kubernetes {
                role: settings.vault_role.clone().ok_or(missing("VAULT_ROLE"))?,
                file: settings.vault_kubernetes_token_file.clone(),
            },
            VaultAuth::AppRole => Way::AppRole {
                role_id: settings.vault_role_id.clone().ok_or(missing("VAULT_ROLE_ID"))?,
                file: settings
                    .vault_secret_id_file
                    .clone()
                    .ok_or(missing("VAULT_SECRET_ID_FILE"))?,
                wrapped: settings.vault_secret_id_wrapped,
            },
            VaultAuth::Token => match (&settings.vault_token_file, &settings.vault_token) {
                (Some(file), _) => Way::TokenFile(file.clone()),
                (None, Some(token)) => Way::Token(token.clone()),
                (None, None) => return Err(missing("VAULT_TOKEN_FILE or VAULT_TOKEN")),
            },
        };
        let mount = settings.vault_auth_mount.as_deref().unwrap_or(auth.name()).trim_matches('/');
        Ok(Self { way, mount: mount.to_owned() })
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        match &self.way {
            Way::Kubernetes { role, .. } => format!("kubernetes, role {role}"),
            Way::AppRole { wrapped: true, .. } => "approle, wrapped secret id".to_owned(),
            Way::AppRole { .. } => "approle".to_owned(),
            Way::TokenFile(file) => format!("the token in {}", file.display()),
            Way::Token(_) => "token".to_owned(),
        }
    }

    pub(super) async fn login(
        &self,
        wire: &Wire,
        held: &mut Option<Held>,
    ) -> Result<Given, Trouble> {
        match &self.way {
            Way::Kubernetes { role, file } => {
                let jwt = read(file).await?;
                let client = wire.client(None);
                let call = kubernetes::login(&client, &self.mount, role, jwt.expose());
                self.given(wire.ask(call).await)
            }
            Way::AppRole { role_id, file, wrapped } => {
                let secret_id = match wrapped {
                    true => self.unwrapped(wire, file, held).await?,
                    false => read(file).await?,
                };
                let client = wire.client(None);
                let (role_id, secret_id) = (role_id.expose(), secret_id.expose());
                let call = approle::login(&client, &self.mount, role_id, secret_id);
                self.given(wire.ask(call).await)
            }
            Way::TokenFile(file) => self.known(wire, read(file).await?).await,
            Way::Token(token) => self.known(wire, token.clone()).await,
        }
    }

    fn auth(&self) -> VaultAuth {
        match self.way {
            Way::Kubernetes { .. } => VaultAuth::Kubernetes,
            Way::AppRole { .. } => VaultAuth::AppRole,
            Way::TokenFile(_) | Way::Token(_) => VaultAuth::Token,
        }
    }

    /// A token that somebody else got for us: how long it lasts is asked for.
    async fn known(&self, wire: &Wire, token: Secret) -> Result<Given, Trouble> {
        if !is_printable(token.expose()) {
            return Err(self.refused(0, "it is empty, or has characters that no token has"));
        }
        let client = wire.client(Some(&token));
        let found = wire.ask(token::lookup_self(&client)).await;
        let found = found.map_err(|failure| self.explain(failure))?;
        let ttl = found.expire_time.map(|_| Duration::from_secs(found.ttl));
        Ok(Given { token, ttl, renewable: found.renewable.unwrap_or(false) })
    }

    fn given(&self, answer: Result<AuthInfo, Failure>) -> Result<Given, Trouble> {
        let auth = answer.map_err(|failure| self.explain(failure))?;
        given(auth).ok_or(Trouble::Unreadable { keeper: "Vault" })
    }

    /// The secret id in the file's wrapping token, which is taken out of it at most once.
    async fn unwrapped(
        &self,
        wire: &Wire,
        file: &Path,
        held: &mut Option<Held>,
    ) -> Result<Secret, Trouble> {
        let wrapped_in = match (read(file).await, &*held) {
            (Ok(text), Some(held)) if text.expose() == held.wrapped_in.expose() => {
                return Ok(held.secret_id.clone());
            }
            // Some remove the file once it has been used.
            (Err(_), Some(held)) => return Ok(held.secret_id.clone()),
            (text, _) => text?,
        };
        if !is_printable(wrapped_in.expose()) {
            return Err(self.refused(0, "the file holds no wrapping token"));
        }
        self.check_origin(wire, &wrapped_in).await?;
        let client = wire.client(Some(&wrapped_in));
        // Without a body of its own: the token that asks is the one to be unwrapped.
        let answer = wire.ask(wrapping::unwrap::<SecretId>(&client, None)).await;
        let SecretId { secret_id } = answer.map_err(|failure| self.alarm(failure))?;
        *held = Some(Held { secret_id: secret_id.clone(), wrapped_in });
        Ok(secret_id)
    }

    /// Whoever replaces the token in the file can wrap anything, but not at this path.
    async fn check_origin(&self, wire: &Wire, wrapped_in: &Secret) -> Result<(), Trouble> {
        let client = wire.client(None);
        let answer = wire.ask(wrapping::lookup(&client, wrapped_in.expose())).await;
        let from = answer.map_err(|failure| self.alarm(failure))?.creation_path;
        let namespace = wire.namespace().map(|name| format!("{name}/")).unwrap_or_default();
        let from = from.strip_prefix(&namespace).unwrap_or(&from);
        let role = from.strip_prefix(&format!("auth/{}/role/", self.mount));
        let role = role.and_then(|rest| rest.strip_suffix("/secret-id"));
        if role.is_some_and(|role| !role.is_empty() && !role.contains('/')) {
            return Ok(());
        }
        error!("the wrapping token in VAULT_SECRET_ID_FILE wraps no secret id: was it replaced?");
        Err(Trouble::WrappedElsewhere)
    }

    fn alarm(&self, failure: Failure) -> Trouble {
        match failure {
            Failure::Said { status: 400, hint: Hint::Wrapping } => {
                error!(
                    "the wrapping token in VAULT_SECRET_ID_FILE is used up: somebody else may hold \
                     the secret id that was in it"
                );
                Trouble::UnwrappedBefore
            }
            other => self.explain(other),
        }
    }

    /// Any refusal of a login means that it failed; which one it is differs between versions.
    fn explain(&self, failure: Failure) -> Trouble {
        match failure {
            Failure::Said { status: status @ (400..=428 | 430..), hint }
                if hint != Hint::Sealed =>
            {
                let why = match (hint, self.auth()) {
                    (Hint::SecretId, _) => "the secret id is not valid, or no longer",
                    (Hint::RoleId, _) => "the role is not known",
                    (Hint::NoMount, _) => "the method is not mounted there",
                    (_, VaultAuth::Token) => "the token is not valid, or may not look itself up",
                    (_, VaultAuth::AppRole) => "the role id or the secret id is not accepted",
                    (_, VaultAuth::Kubernetes) => "the role or the service account is not accepted",
                };
                self.refused(status, why)
            }
            other => other.trouble(),
        }
    }

    fn refused(&self, status: u16, why: &'static str) -> Trouble {
        Trouble::LoginRefused { auth: self.auth(), status, why }
    }
}

#[derive(Deserialize)]
struct SecretId {
    secret_id: Secret,
}

/// None if that is no token.
pub(super) fn given(auth: AuthInfo) -> Option<Given> {
    let ttl = (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration));
    let token = Secret::new(auth.client_token);
    is_printable(token.expose()).then_some(Given { token, ttl, renewable: auth.renewable })
}

async fn read(file: &Path) -> Result<Secret, Trouble> {
    let failed = |why: String| Trouble::NoLogin { file: file.display().to_string(), why };
    let text = tokio::fs::read(file).await.map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| failed("it is no text".to_owned()))?;
    let text = zeroize::Zeroizing::new(text);
    match text.trim() {
        "" => Err(failed("it is empty".to_owned())),
        text => Ok(Secret::new(text.to_owned())),
    }
}
