//! How types of `model`, which knows no OpenAPI, look in the document. Tests hold the names to what
//! is really sent.
#![expect(dead_code, reason = "these types document, nobody makes one")]

use utoipa::ToSchema;

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Environment {
    Production,
    Staging,
    Development,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum KeyAlgorithm {
    Ed25519,
    Rsa,
    EcdsaP256,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum CircuitAction {
    /// Deliveries are held until a probe succeeds.
    Hold,
    /// The endpoint is disabled.
    Disable,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum OnExhausted {
    Fail,
    Disable,
}

/// How delays are lengthened at random: not, by at most a tenth, or by whole steps.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Jitter {
    None,
    Tenth,
    Steps { step_s: u32, steps_max: u32 },
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum DisabledReason {
    Requested,
    Gone,
    Exhausted,
    CircuitOpened,
    AwaitingConsent,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum DeliveryStatus {
    Queued,
    Retrying,
    Held,
    Delivered,
    Failed,
    Discarded,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum HoldReason {
    EndpointDisabled,
    CircuitOpen,
    RateLimit,
    MaxInFlight,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Plan {
    Free,
    Starter,
    Professional,
    Enterprise,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Events in, nothing else.
    Publisher,
    /// Read.
    Viewer,
    /// Manage endpoints, retry, publish.
    Editor,
    /// Keys and secrets too.
    Admin,
    /// Every tenant, and the tenants themselves.
    Operator,
}

/// A retry schedule of the endpoint's own.
#[derive(ToSchema)]
pub(crate) struct Retry {
    /// Seconds from the end of each failed attempt to the next.
    #[schema(max_items = 50)]
    delays_s: Vec<u32>,
}

#[derive(ToSchema)]
pub(crate) struct RateLimit {
    #[schema(minimum = 1, maximum = 10_000)]
    per_second: u32,
}

#[derive(ToSchema)]
pub(crate) struct CircuitSettings {
    /// Consecutive failed attempts after which the circuit opens.
    #[schema(minimum = 1, maximum = 1_000)]
    open_after: Option<u32>,
    action: Option<CircuitAction>,
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use utoipa::PartialSchema;

    use super::*;

    fn check<Documented: PartialSchema>(sent: &[impl Serialize]) {
        let schema = serde_json::to_value(Documented::schema()).unwrap();
        assert_eq!(schema["enum"], serde_json::to_value(sent).unwrap());
    }

    #[test]
    fn documented_names_are_the_names_that_are_sent() {
        use model::Environment::{Development, Production, Staging};
        check::<Environment>(&[Production, Staging, Development]);
        check::<CircuitAction>(&[model::CircuitAction::Hold, model::CircuitAction::Disable]);
        check::<OnExhausted>(&[model::OnExhausted::Fail, model::OnExhausted::Disable]);
        check::<DisabledReason>(model::DisabledReason::ALL);
        check::<DeliveryStatus>(model::DeliveryStatus::ALL);
        check::<KeyAlgorithm>(model::KeyAlgorithm::ALL);
        check::<HoldReason>(model::HoldReason::ALL);
        check::<Plan>(model::Plan::ALL);
        check::<Role>(model::Role::ALL);
    }
}
