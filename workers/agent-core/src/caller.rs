use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use model::{Tenant, quote};
use time::OffsetDateTime;

use crate::api_error::ApiError;
use crate::http::App;
use crate::tokens::Claims;

/// Who calls. A handler that takes one is called only by somebody who was authenticated, and a
/// handler that takes none is open.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A server with a secret key or a `service_role` token: any tenant.
    Server { id: String },
    /// A user of one tenant.
    User { id: String, tenant: Tenant, until: OffsetDateTime },
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = authenticate(&parts.headers, app).await?;
        app.rates.check(caller.id())?;
        Ok(caller)
    }
}

/// A token decides before a key: supabase-js sends its public key with every user's token.
async fn authenticate(headers: &HeaderMap, app: &App) -> Result<Caller, ApiError> {
    let given = match (one(headers, AUTHORIZATION.as_str())?, one(headers, "apikey")?) {
        (Some(value), _) => bearer(value)?,
        (None, Some(key)) => key.trim(),
        (None, None) => {
            return Err(ApiError::unauthenticated(
                "credentials_missing",
                "this needs a token or a secret key",
            ));
        }
    };
    if let Some(id) = app.keys.find(given) {
        return Ok(Caller::Server { id });
    }
    if given.starts_with("sb_publishable_") {
        // It names the project and nobody in it.
        return Err(anonymous());
    }
    let claims = app.tokens.verify(given).await?;
    caller_of(claims)
}

fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, ApiError> {
    let unreadable =
        |what: &str| ApiError::unauthenticated("credentials_invalid", format!("`{name}` {what}"));
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(unreadable("was sent twice"));
    }
    value.to_str().map(Some).map_err(|_| unreadable("is not text"))
}

fn bearer(value: &str) -> Result<&str, ApiError> {
    let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| token.trim()).filter(|token| !token.is_empty()).ok_or_else(|| {
        ApiError::unauthenticated("credentials_invalid", "`Authorization` is not a bearer token")
    })
}

fn anonymous() -> ApiError {
    ApiError::forbidden(
        "anonymous",
        "nobody is signed in",
        "sign in and send the user's token, or call from a server with a secret key",
    )
}

fn caller_of(claims: Claims) -> Result<Caller, ApiError> {
    match claims.role.as_str() {
        "service_role" => Ok(Caller::Server { id: "service_role".to_owned() }),
        "authenticated" => {
            let tenant = claims.tenant().ok_or_else(|| {
                ApiError::forbidden(
                    "tenant_missing",
                    "the token names no tenant",
                    "put a `tenant` claim into the user's app_metadata and sign in again",
                )
            })?;
            let tenant: Tenant = tenant.parse().map_err(|_| {
                ApiError::forbidden(
                    "tenant_invalid",
                    "the token's tenant is not one",
                    "use at most 128 letters, digits and `_ . : -` in the `tenant` claim",
                )
            })?;
            let until = OffsetDateTime::from_unix_timestamp(claims.exp)
                .unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let user = claims.sub.unwrap_or_default();
            Ok(Caller::User { id: format!("{tenant}/{user}"), tenant, until })
        }
        "anon" => Err(anonymous()),
        role => Err(ApiError::forbidden(
            "role_unknown",
            format!("the role {} may do nothing here", quote(role)),
            "use a token of the role authenticated or service_role",
        )),
    }
}

impl Caller {
    /// For limits: the same for every request of one caller.
    fn id(&self) -> &str {
        match self {
            Self::Server { id } | Self::User { id, .. } => id,
        }
    }

    /// The tenant it is confined to, if it is.
    pub(crate) fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::Server { .. } => None,
            Self::User { tenant, .. } => Some(tenant),
        }
    }

    /// Whether it may see and touch what belongs to `tenant`.
    pub(crate) fn may_see(&self, tenant: &Tenant) -> bool {
        self.tenant().is_none_or(|mine| mine == tenant)
    }

    /// The tenant it acts for, having asked for `asked`.
    pub(crate) fn acts_for(&self, asked: Option<Tenant>) -> Result<Tenant, ApiError> {
        match (self.tenant(), asked) {
            (None, asked) => Ok(asked.unwrap_or_default()),
            (Some(mine), Some(asked)) if asked != *mine => Err(ApiError::forbidden(
                "tenant_forbidden",
                "the token is of another tenant",
                "leave `tenant` out: it is taken from the token",
            )),
            (Some(mine), _) => Ok(mine.clone()),
        }
    }

    pub(crate) fn require_server(&self) -> Result<(), ApiError> {
        match self {
            Self::Server { .. } => Ok(()),
            Self::User { .. } => Err(ApiError::forbidden(
                "servers_only",
                "this is for servers",
                "call with a secret key",
            )),
        }
    }

    /// How long what it is allowed may go on.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        match self {
            Self::Server { .. } => None,
            Self::User { until, .. } => {
                let left = *until - OffsetDateTime::now_utc();
                Some(left.try_into().unwrap_or_default())
            }
        }
    }
}
