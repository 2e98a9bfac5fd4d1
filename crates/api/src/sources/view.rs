use model::{EndpointSecret, Environment, KeyKind, Source, SourceId, Timestamp};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::schema;

/// A source as it is shown: never its secret, only a hint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceView {
    #[schema(value_type = String, example = "src_01JRX5K9Q8ZV3T7Y2M4N6P8R0S")]
    id: SourceId,
    /// Where the other system has to send its webhooks; a path if `http.public_url` is not set.
    #[schema(example = "https://fanfare.example.com/in/src_01JRX5K9Q8ZV3T7Y2M4N6P8R0S")]
    url: String,
    dialect: String,
    name: Option<String>,
    #[schema(value_type = Option<schema::Environment>)]
    environment: Option<Environment>,
    product: Option<String>,
    active: bool,
    /// The last characters of the newest secret; `null` where a public key verifies.
    secret_hint: Option<String>,
    /// The newest public key; `null` where a secret verifies.
    public_key: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A source and, this once, its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct NewSourceView {
    #[serde(flatten)]
    pub(super) source: SourceView,
    /// For the other system, which signs with it. Absent if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
}

impl SourceView {
    pub(super) fn new(app: &App, source: &Source) -> Self {
        let newest = source.keys.first();
        let (secret, public_key) = match source.key_kind {
            KeyKind::Secret => (newest, None),
            KeyKind::Public => (None, newest),
        };
        let base = app.public_url.as_deref().unwrap_or_default();
        Self {
            id: source.id,
            url: format!("{base}/in/{}", source.id),
            dialect: source.dialect.clone(),
            name: source.name.clone(),
            environment: source.environment,
            product: source.product.clone(),
            active: source.active,
            secret_hint: secret.map(EndpointSecret::hint),
            public_key: public_key.map(|key| key.value.expose_secret().to_owned()),
            created_at: source.created_at,
            updated_at: source.updated_at,
        }
    }
}
