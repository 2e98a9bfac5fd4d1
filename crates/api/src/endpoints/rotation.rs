use std::time::Duration;

use axum::extract::State;
use dialect::Dialect;
use model::{Endpoint, EndpointId, EndpointSecret, Role, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use web::{ApiError, Id, Json, JsonOrDefault, Principal, Problems};

use super::find;
use super::input::{check_seconds, check_secret_of};
use crate::app::App;

/// How long a rotated secret goes on signing unless said otherwise.
const GRACE_S_DEFAULT: u64 = 24 * 60 * 60;
/// How long a rotated secret may go on signing.
const GRACE_S_MAX: u64 = 30 * 24 * 60 * 60;
/// Secrets of an endpoint or a source that hold at the same time at most.
const SIGNING_SECRETS_MAX: usize = 5;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RotateInput {
    /// Seconds for which the secrets before go on signing; 0 ends them at once.
    #[schema(default = 86_400, maximum = 2_592_000)]
    grace_s: Option<u64>,
    /// A secret of one's own; made if absent.
    secret: Option<String>,
}

/// The new secret, shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct RotatedView {
    #[schema(value_type = String)]
    id: EndpointId,
    secret: String,
    secret_hint: String,
    /// Until then the secret before signs too or, where a dialect carries one signature, instead.
    #[schema(value_type = String, format = DateTime)]
    previous_signs_until: Timestamp,
}

/// Gives an endpoint a new secret. The one before signs on for a while.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/rotate_secret", tag = "endpoints",
    operation_id = "rotate_secret",
    params(("id" = String, Path, description = "An endpoint's id")),
    request_body = Option<RotateInput>,
    responses((status = 200, body = RotatedView), Problems)
)]
pub(super) async fn rotate_secret(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EndpointId>,
    JsonOrDefault(input): JsonOrDefault<RotateInput>,
) -> Result<Json<RotatedView>, ApiError> {
    caller.require(Role::Admin)?;
    let endpoint = find(&app, &caller, id)?;
    let grace = check_grace(input.grace_s)?;
    let now = ambient::now();
    check_secrets(endpoint.signing_secrets(now).count(), grace)?;
    let secret = match input.secret {
        Some(secret) => SecretString::from(secret),
        None => Dialect::generate_secret(ambient::random_secret()),
    };
    check_secret_of(Dialect::of(&endpoint), &secret)?;
    let new = EndpointSecret {
        value: secret,
        created_at: now,
        signs_until: None,
    };
    let until = now.plus(grace);
    let change = |endpoint: &mut Endpoint| {
        rotate(&mut endpoint.secrets, &new, until);
        Ok::<_, ApiError>(())
    };
    app.directory
        .update_endpoint(id, &change)
        .await?
        .ok_or_else(|| ApiError::not_found("endpoint"))?;
    Ok(Json(RotatedView {
        id,
        secret: new.value.expose_secret().to_owned(),
        secret_hint: new.hint(),
        previous_signs_until: until,
    }))
}

/// How long the secrets before go on.
pub(crate) fn check_grace(grace_s: Option<u64>) -> Result<Duration, ApiError> {
    check_seconds("/grace_s", grace_s, GRACE_S_DEFAULT, 0..=GRACE_S_MAX)
        .map_err(|error| ApiError::invalid(vec![error]))
}

/// Whether another secret may be added to the `count` that hold.
pub(crate) fn check_secrets(count: usize, grace: Duration) -> Result<(), ApiError> {
    if grace.is_zero() || count < SIGNING_SECRETS_MAX {
        return Ok(());
    }
    Err(ApiError::conflict(format!(
        "{SIGNING_SECRETS_MAX} secrets still hold; wait, or end them with \"grace_s\": 0"
    )))
}

/// Puts `new` in front; those before hold until `until`, or until an earlier end they have.
pub(crate) fn rotate(secrets: &mut Vec<EndpointSecret>, new: &EndpointSecret, until: Timestamp) {
    for secret in secrets.iter_mut() {
        secret.signs_until = Some(secret.signs_until.map_or(until, |end| end.min(until)));
    }
    secrets.retain(|secret| secret.signs_until.is_some_and(|end| end > new.created_at));
    secrets.insert(0, new.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(created_s: i64, until_s: Option<i64>) -> EndpointSecret {
        EndpointSecret {
            value: format!("whsec_{created_s}").into(),
            created_at: Timestamp::from_seconds(created_s),
            signs_until: until_s.map(Timestamp::from_seconds),
        }
    }

    #[test]
    fn a_rotation_ends_older_secrets_and_never_prolongs_one() {
        let mut secrets = vec![
            secret(30, None),
            secret(20, Some(110)),
            secret(10, Some(90)),
        ];
        rotate(
            &mut secrets,
            &secret(100, None),
            Timestamp::from_seconds(200),
        );
        let seen: Vec<_> = secrets
            .iter()
            .map(|it| {
                (
                    it.created_at.as_seconds(),
                    it.signs_until.map(Timestamp::as_seconds),
                )
            })
            .collect();
        assert_eq!(seen, [(100, None), (30, Some(200)), (20, Some(110))]);
    }

    #[test]
    fn without_grace_only_the_new_secret_is_left() {
        let mut secrets = vec![secret(30, None), secret(20, Some(110))];
        rotate(
            &mut secrets,
            &secret(100, None),
            Timestamp::from_seconds(100),
        );
        assert_eq!(secrets.len(), 1);
    }
}
