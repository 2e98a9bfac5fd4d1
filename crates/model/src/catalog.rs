//! The event types every tenant may publish. A tenant may register further ones.

/// A canonical event type and when it fires.
#[derive(Clone, Copy, Debug)]
pub struct CatalogEntry {
    pub name: &'static str,
    pub fires_when: &'static str,
}

/// Whether `name` is in the [`CATALOG`].
pub fn is_catalogued(name: &str) -> bool {
    CATALOG
        .binary_search_by(|entry| entry.name.cmp(name))
        .is_ok()
}

/// Whether events of this type only test a receiver: nothing happened to a license.
pub fn is_test(event_type: &crate::EventType) -> bool {
    event_type.as_str() == "webhook.test"
}

/// Whether deliveries of this type go ahead of bulk traffic: a license that must stop working
/// has to stop now.
pub fn is_urgent(event_type: &crate::EventType) -> bool {
    matches!(
        event_type.as_str(),
        "license.revoked" | "license.bulk_revoked" | "license.suspended" | "license.expired"
    )
}

const fn entry(name: &'static str, fires_when: &'static str) -> CatalogEntry {
    CatalogEntry { name, fires_when }
}

/// All canonical types, sorted by name.
#[rustfmt::skip]
pub const CATALOG: &[CatalogEntry] = &[
    entry("abuse.detected", "A suspicious pattern is found."),
    entry("account.billing.updated", "An account's billing is updated."),
    entry("account.plan.updated", "An account's plan is updated."),
    entry("account.settings.created", "An account's settings are created."),
    entry("account.settings.deleted", "An account's settings are deleted."),
    entry("account.settings.updated", "An account's settings are updated."),
    entry("account.subscription.canceled", "An account's subscription is canceled."),
    entry("account.subscription.paused", "An account's subscription is paused."),
    entry("account.subscription.renewed", "An account's subscription is renewed."),
    entry("account.subscription.resumed", "An account's subscription is resumed."),
    entry("account.updated", "An account is updated."),
    entry("activation.created", "An activation is recorded."),
    entry("activation.deleted", "An activation is removed."),
    entry("activation.failed", "An attempt to activate is refused."),
    entry("artifact.created", "An artifact is created."),
    entry("artifact.deleted", "An artifact is deleted."),
    entry("artifact.downloaded", "An artifact is downloaded."),
    entry("artifact.updated", "An artifact is updated."),
    entry("artifact.upload.failed", "An artifact's upload fails."),
    entry("artifact.upload.processing", "An artifact's upload is being processed."),
    entry("artifact.upload.succeeded", "An artifact's upload succeeds."),
    entry("artifact.uploaded", "An artifact is uploaded."),
    entry("component.created", "A component is created."),
    entry("component.deleted", "A component is deleted."),
    entry("component.updated", "A component is updated."),
    entry("contract.created", "A contract is created."),
    entry("contract.deleted", "A contract is deleted."),
    entry("contract.suspended", "A contract is suspended."),
    entry("contract.updated", "A contract changes."),
    entry("domain.added", "A domain is authorized."),
    entry("domain.removed", "A domain's authorization ends."),
    entry("entitlement.created", "An entitlement is created."),
    entry("entitlement.deleted", "An entitlement is deleted."),
    entry("entitlement.updated", "An entitlement is updated."),
    entry("environment.created", "An environment is created."),
    entry("environment.deleted", "An environment is deleted."),
    entry("environment.updated", "An environment is updated."),
    entry("group.created", "A group is created."),
    entry("group.deleted", "A group is deleted."),
    entry("group.owners.attached", "A group's owners are attached."),
    entry("group.owners.detached", "A group's owners are detached."),
    entry("group.updated", "A group is updated."),
    entry("key.created", "A key is created."),
    entry("key.deleted", "A key is deleted."),
    entry("key.updated", "A key is updated."),
    entry("license.activated", "A new device, domain or identifier activates a license."),
    entry("license.assigned", "A license is assigned to its first customer."),
    entry("license.bulk_revoked", "Several licenses are revoked at once."),
    entry("license.check_in_overdue", "A license has missed its check-in."),
    entry("license.check_in_required_soon", "A license must check in soon."),
    entry("license.checked_in", "A license checks in."),
    entry("license.checked_out", "A license file is checked out."),
    entry("license.created", "A license is issued."),
    entry("license.deactivated", "A license leaves the active state by deactivation."),
    entry("license.deleted", "A license's record is deleted."),
    entry("license.entitlements.attached", "Entitlements are attached to a license."),
    entry("license.entitlements.detached", "Entitlements are detached from a license."),
    entry("license.expired", "A license passes its expiry date."),
    entry("license.expiring_soon", "A license is about to expire."),
    entry("license.group.updated", "A license's group changes."),
    entry("license.ip_blocked", "A validation is blocked by the IP limit."),
    entry("license.ip_removed", "An IP address is removed from a license."),
    entry("license.ips_reset", "A license's IP addresses are reset."),
    entry("license.owner.updated", "A license's owner changes."),
    entry("license.policy.updated", "A license's policy changes."),
    entry("license.reinstated", "A suspension is lifted."),
    entry("license.renewed", "A license's term is extended."),
    entry("license.revoked", "A license is revoked."),
    entry("license.suspended", "A license is disabled or suspended."),
    entry("license.transfer_rejected", "A license's transfer is refused."),
    entry("license.transferred", "A license passes to a new customer."),
    entry("license.updated", "Attributes of a license change."),
    entry("license.upgraded", "The plan or policy of a license changes."),
    entry("license.usage.decremented", "A license's usage is decremented."),
    entry("license.usage.incremented", "A license's usage is incremented."),
    entry("license.usage.reset", "A license's usage is reset."),
    entry("license.user.updated", "A license's user changes."),
    entry("license.users.attached", "Users are attached to a license."),
    entry("license.users.detached", "Users are detached from a license."),
    entry("license.validated", "A validation succeeds."),
    entry("license.validation_failed", "A validation fails, with its reason."),
    entry("limit.exceeded", "A limit is reached."),
    entry("machine.checked_out", "A machine is checked out."),
    entry("machine.created", "A machine is created."),
    entry("machine.deleted", "A machine is deleted."),
    entry("machine.group.updated", "A machine's group is updated."),
    entry("machine.heartbeat.dead", "A machine misses its heartbeat."),
    entry("machine.heartbeat.ping", "A machine sends a heartbeat."),
    entry("machine.heartbeat.pong", "A machine's heartbeat window ends alive."),
    entry("machine.heartbeat.reset", "A machine's heartbeat is reset."),
    entry("machine.heartbeat.resurrected", "A machine that was dead sends a heartbeat."),
    entry("machine.owner.updated", "A machine's owner is updated."),
    entry("machine.proofs.generated", "A machine's proofs are generated."),
    entry("machine.updated", "A machine is updated."),
    entry("package.created", "A package is created."),
    entry("package.deleted", "A package is deleted."),
    entry("package.updated", "A package is updated."),
    entry("payment.failed", "A subscription's payment fails."),
    entry("policy.created", "A policy is created."),
    entry("policy.deleted", "A policy is deleted."),
    entry("policy.entitlements.attached", "A policy's entitlements are attached."),
    entry("policy.entitlements.detached", "A policy's entitlements are detached."),
    entry("policy.pool.popped", "A policy's pool is popped."),
    entry("policy.updated", "A policy is updated."),
    entry("process.created", "A process is created."),
    entry("process.deleted", "A process is deleted."),
    entry("process.heartbeat.dead", "A process misses its heartbeat."),
    entry("process.heartbeat.ping", "A process sends a heartbeat."),
    entry("process.heartbeat.pong", "A process's heartbeat window ends alive."),
    entry("process.heartbeat.resurrected", "A process that was dead sends a heartbeat."),
    entry("process.updated", "A process is updated."),
    entry("product.created", "A product is created."),
    entry("product.deleted", "A product is deleted."),
    entry("product.updated", "A product is updated."),
    entry("release.constraints.attached", "A release's constraints are attached."),
    entry("release.constraints.detached", "A release's constraints are detached."),
    entry("release.created", "A release is created."),
    entry("release.deleted", "A release is deleted."),
    entry("release.downloaded", "A release is downloaded."),
    entry("release.package.updated", "A release's package is updated."),
    entry("release.published", "A release is published."),
    entry("release.replaced", "A release is replaced."),
    entry("release.updated", "A release is updated."),
    entry("release.upgraded", "A release is upgraded."),
    entry("release.uploaded", "A release is uploaded."),
    entry("release.yanked", "A release is yanked."),
    entry("second_factor.created", "A second factor is created."),
    entry("second_factor.deleted", "A second factor is deleted."),
    entry("second_factor.disabled", "A second factor is disabled."),
    entry("second_factor.enabled", "A second factor is enabled."),
    entry("telemetry.flagged", "Telemetry raises a forensic flag."),
    entry("telemetry.received", "Telemetry arrives."),
    entry("token.generated", "A token is generated."),
    entry("token.regenerated", "A token is regenerated."),
    entry("token.revoked", "A token is revoked."),
    entry("user.banned", "A user is banned."),
    entry("user.created", "A user is created."),
    entry("user.deleted", "A user is deleted."),
    entry("user.group.updated", "A user's group is updated."),
    entry("user.password_reset", "A user asks for a new password."),
    entry("user.unbanned", "A user is unbanned."),
    entry("user.updated", "A user is updated."),
    entry("webhook.test", "Somebody tests an endpoint."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_sorted_and_every_name_is_a_valid_type() {
        assert!(CATALOG.is_sorted_by(|a, b| a.name < b.name));
        for entry in CATALOG {
            assert!(
                entry.name.parse::<crate::EventType>().is_ok(),
                "{}",
                entry.name
            );
        }
        assert!(is_catalogued("license.created"));
        assert!(!is_catalogued("license.exploded"));
    }
}
