use anyhow::{Context, ensure};
use model::{ApiKey, KeyId, Plan, Role, Tenant, TenantId};
use secrecy::ExposeSecret;
use store::{Directory, SchemaState};

use crate::cli::KeyAction;
use crate::settings::Settings;
use crate::terminal;
use crate::wiring::{master_key, open_store};

/// Creates an API key and prints it: the only time it is seen.
pub(crate) async fn key(settings: &Settings, action: KeyAction) -> anyhow::Result<()> {
    let KeyAction::Create { tenant, role, name } = action;
    ensure!(
        (role == Role::Operator) == tenant.is_none(),
        "an operator key belongs to no tenant, every other key to one: leave --tenant out"
    );
    let store = open_store(settings).await?;
    if settings.embedded_store_path().is_some() {
        store.migrate().await?;
    }
    let schema = store.schema().await?;
    ensure!(
        schema == SchemaState::Current,
        "run `fanfare migrate` first"
    );
    let directory = Directory::load(store, master_key(settings)?).await?;
    if let Some(tenant) = &tenant
        && directory.snapshot().tenant(tenant).is_none()
    {
        create_tenant(&directory, tenant).await?;
    }
    let now = ambient::now();
    let (key, hash) = web::new_key(ambient::random_secret());
    let stored = ApiKey {
        id: KeyId::new(now, ambient::random_id()),
        hash,
        tenant,
        role,
        name,
        created_at: now,
        expires_at: None,
    };
    directory.put_key(stored).await?;
    terminal::line(key.expose_secret());
    Ok(())
}

async fn create_tenant(directory: &Directory, id: &TenantId) -> anyhow::Result<()> {
    let tenant = Tenant {
        id: id.clone(),
        name: id.to_string(),
        plan: Plan::Enterprise,
        created_at: ambient::now(),
    };
    directory
        .put_tenant(tenant, true)
        .await
        .context("creating the tenant")
}
