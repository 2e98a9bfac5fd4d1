use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use model::{ApiKey, Role, TenantId};
use store::Directory;

use crate::{ApiError, hash_key};

/// Names the tenant of a request with an operator key.
pub const TENANT_HEADER: &str = "fanfare-tenant";

/// Who asks, and for which tenant. Extracting it authenticates the request; what the caller may do
/// is [`require`](Self::require)d by each handler.
#[derive(Clone, Debug)]
pub struct Principal {
    key: Arc<ApiKey>,
    tenant: Named,
}

/// The tenant of a request. Many calls of an operator are about none, so only those that are care
/// whether it exists.
#[derive(Clone, Debug)]
enum Named {
    Nobody,
    Tenant(TenantId),
    Unknown,
}

impl Principal {
    /// Refuses a caller whose role does not [cover](Role::covers) `role`.
    pub fn require(&self, role: Role) -> Result<(), ApiError> {
        if self.key.role.covers(role) {
            return Ok(());
        }
        Err(ApiError::forbidden(format!(
            "the key's role is {}, this takes {role}",
            self.key.role
        )))
    }

    /// The tenant this request is about: the key's own, or the one an operator named.
    pub fn tenant(&self) -> Result<&TenantId, ApiError> {
        self.tenant_if_named()?.ok_or_else(|| {
            ApiError::bad_request("an operator key names the tenant in the header Fanfare-Tenant")
        })
    }

    /// The tenant, where an operator may leave it out to mean all of them.
    pub fn tenant_if_named(&self) -> Result<Option<&TenantId>, ApiError> {
        match &self.tenant {
            Named::Nobody => Ok(None),
            Named::Tenant(tenant) => Ok(Some(tenant)),
            Named::Unknown => Err(ApiError::not_found("tenant")),
        }
    }

    pub fn is_operator(&self) -> bool {
        self.key.role == Role::Operator
    }

    pub fn key(&self) -> &ApiKey {
        &self.key
    }
}

impl<S: Sync> FromRequestParts<S> for Principal
where
    Arc<Directory>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let directory = Arc::<Directory>::from_ref(state);
        let snapshot = directory.snapshot();
        let key = bearer(&parts.headers)?;
        let key = snapshot
            .key(&hash_key(key))
            .filter(|key| key.expires_at.is_none_or(|end| ambient::now() < end))
            .ok_or_else(|| ApiError::unauthorized("the API key is unknown or expired"))?;
        let named = named_tenant(&parts.headers)?;
        let tenant = match (&key.tenant, named) {
            (Some(own), None) => Named::Tenant(own.clone()),
            (Some(own), Some(named)) if named == own.as_str() => Named::Tenant(own.clone()),
            (Some(_), Some(_)) => {
                return Err(ApiError::forbidden("the key belongs to another tenant"));
            }
            (None, None) => Named::Nobody,
            (None, Some(named)) => TenantId::new(named)
                .ok()
                .filter(|id| snapshot.tenant(id).is_some())
                .map_or(Named::Unknown, Named::Tenant),
        };
        Ok(Self {
            key: Arc::clone(key),
            tenant,
        })
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    const WANTED: &str = "send the header Authorization: Bearer <API key>";
    let value = headers
        .get(AUTHORIZATION)
        .ok_or_else(|| ApiError::unauthorized(WANTED))?;
    let (scheme, key) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(|| ApiError::unauthorized(WANTED))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::unauthorized(WANTED));
    }
    Ok(key.trim())
}

fn named_tenant(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::bad_request(
            "the header Fanfare-Tenant stands there twice",
        ));
    }
    match value.to_str() {
        Ok(value) => Ok(Some(value)),
        // No tenant has such a name.
        Err(_) => Ok(Some("")),
    }
}
