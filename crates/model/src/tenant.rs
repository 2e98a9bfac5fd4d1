use serde::{Deserialize, Serialize};

use crate::{EventType, KeyId, TenantId, Timestamp, delivery::names};

/// Whose endpoints and events: tenants never see one another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub plan: Plan,
    pub created_at: Timestamp,
}

names!(
    /// Limits the number of endpoints and the days deliveries are kept.
    Plan, "free, starter, professional or enterprise", {
        Free = "free",
        Starter = "starter",
        Professional = "professional",
        Enterprise = "enterprise",
    }
);

names!(
    /// What an API key may do; see [`Role::covers`].
    Role, "publisher, viewer, editor, admin or operator", {
        /// Events in, nothing else.
        Publisher = "publisher",
        /// Read.
        Viewer = "viewer",
        /// Manage endpoints, retry, replay.
        Editor = "editor",
        /// Keys and secrets.
        Admin = "admin",
        /// Every tenant, and the tenants themselves.
        Operator = "operator",
    }
);

impl Role {
    /// Whether this role may do what `needed` may: an editor reads and publishes too, a viewer
    /// only reads, a publisher only publishes.
    pub const fn covers(self, needed: Self) -> bool {
        match needed {
            Self::Publisher => !matches!(self, Self::Viewer),
            Self::Viewer => !matches!(self, Self::Publisher),
            Self::Editor => matches!(self, Self::Editor | Self::Admin | Self::Operator),
            Self::Admin => matches!(self, Self::Admin | Self::Operator),
            Self::Operator => matches!(self, Self::Operator),
        }
    }
}

/// SHA-256 of an API key. Keys are random and long, so a plain hash is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyHash(pub [u8; 32]);

/// An API key as it is kept: never the key itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: KeyId,
    pub hash: KeyHash,
    /// `None` for an operator key.
    pub tenant: Option<TenantId>,
    pub role: Role,
    pub name: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// An event type beyond the catalogue, registered by a tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegisteredEventType {
    pub tenant: TenantId,
    pub name: EventType,
    pub description: String,
}
