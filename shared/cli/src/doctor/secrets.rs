use model::{CredentialRef, Provider};
use oci::{Account as OciAccount, Oci, OciError, OciSettings};
use registry::{Account, Registry};
use secrets::{Secrets, SecretsSettings, Trouble};
use telemetry::Chain;

use super::check::{Check, advice, broken, fine, wrong};

const VAULT: &str = "vault";
const REGISTRY: &str = "registry login";
const ONCE: &str = "a wrapped secret id can be used only once, and is whose it was given to";

/// The login to Vault, and that of every account to its registry. Nothing that was read is in what
/// is said: errors of these doors hold nothing of a secret.
pub(super) async fn examine(
    registry: &Registry,
    secrets: &SecretsSettings,
    registries: &OciSettings,
) -> Vec<Check> {
    let door = match Secrets::new(secrets) {
        Ok(door) => door,
        Err(error) => return vec![broken("secrets", &error)],
    };
    let mut checks: Vec<Check> = vault(&door, secrets).await.into_iter().collect();
    let oci = match Oci::new(registries) {
        Ok(oci) => oci,
        Err(error) => {
            checks.push(broken(REGISTRY, &error));
            return checks;
        }
    };
    match registry.accounts().await {
        Ok(accounts) => {
            let asked = accounts.iter().map(|account| login(account, &oci, &door, secrets));
            checks.extend(futures_util::future::join_all(asked).await);
        }
        Err(error) => checks.push(broken(REGISTRY, &error)),
    }
    checks
}

async fn vault(door: &Secrets, settings: &SecretsSettings) -> Option<Check> {
    if settings.login_uses_up() {
        let fix = "`vault write -f auth/approle/role/<role>/secret-id` makes one for a trial";
        return Some(advice(VAULT, format!("not tried: {ONCE}"), fix));
    }
    Some(match door.login().await? {
        Ok(through) => fine(VAULT, format!("{through} works")),
        Err(trouble) => broken(VAULT, &trouble),
    })
}

/// Whether an account's reference resolves, and its registry takes what it names.
async fn login(account: &Account, oci: &Oci, door: &Secrets, settings: &SecretsSettings) -> Check {
    let name = account.name();
    let told = |what: &str| format!("{name}: {what}");
    let failed = |error: &(dyn miette::Diagnostic + 'static)| {
        let help = error.help().map(|help| help.to_string());
        Check {
            found: told(&Chain(error).to_string()),
            fix: help,
            ..wrong(REGISTRY, String::new(), "")
        }
    };
    let provider = match account.provider.parse::<Provider>() {
        Ok(provider) => provider,
        Err(error) => {
            return wrong(REGISTRY, told(&error.to_string()), "`cogo accounts add` changes it");
        }
    };
    let at = match OciAccount::new(provider, &account.registry_url, Some(&account.namespace)) {
        Ok(at) => at,
        Err(error) => return failed(&error),
    };
    let secret = match account.credential_ref.as_deref().map(str::parse::<CredentialRef>) {
        None => None,
        Some(Err(error)) => {
            return wrong(REGISTRY, told(&error.to_string()), "`cogo accounts add` changes it");
        }
        Some(Ok(reference)) => {
            if settings.login_uses_up() && reference.to_string().starts_with("vault:") {
                let fix = "`cogo secrets check` tries it where that does no harm";
                return advice(REGISTRY, told(&format!("{reference} is not tried: {ONCE}")), fix);
            }
            match door.resolve(&reference).await {
                Ok(resolved) => Some(resolved.value),
                // That is this shell's setting; the controller has its own.
                Err(error) if matches!(error.trouble, Trouble::NotAllowed | Trouble::NotSet(_)) => {
                    return advice(
                        REGISTRY,
                        told(&format!("{reference} is not tried: {}", error.trouble)),
                        "give the doctor the image-controller's settings: SECRETS_ALLOW, VAULT_…",
                    );
                }
                Err(error) => return failed(&error),
            }
        }
    };
    let known = oci.registry(&at, secret.as_ref());
    let asked = match &known {
        Ok(known) => known.check().await,
        Err(error) => return failed(error),
    };
    match (asked, &account.credential_ref) {
        (Ok(()), Some(reference)) => fine(REGISTRY, told(&format!("{reference} is accepted"))),
        (Ok(()), None) => fine(REGISTRY, told("it answers, and lets anybody read")),
        // What is public there, anybody may read without a login.
        (Err(OciError::LoginNeeded { .. }), None) => advice(
            REGISTRY,
            told("it answers, and the account has no login: only what is public can be read"),
            "name its credential with `cogo accounts add … --credential`",
        ),
        (Err(error), _) => failed(&error),
    }
}
