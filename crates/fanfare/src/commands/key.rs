use std::sync::Arc;

use anyhow::{Context, ensure};
use model::{ApiKey, KeyId, Plan, Role, Tenant, TenantId};
use secrecy::ExposeSecret;
use store::{Directory, SchemaState};

use crate::cli::KeyAction;
use crate::settings::Settings;
use crate::terminal;
use crate::wiring::{master_key, open_store};

pub(crate) async fn key(settings: &Settings, action: KeyAction) -> anyhow::Result<()> {
    match action {
        KeyAction::Create { tenant, role, name } => create(settings, tenant, role, name).await,
        KeyAction::Reseal => reseal(settings).await,
    }
}

/// Creates an API key and prints it: the only time it is seen.
async fn create(
    settings: &Settings,
    tenant: Option<TenantId>,
    role: Role,
    name: Option<String>,
) -> anyhow::Result<()> {
    ensure!(
        (role == Role::Operator) == tenant.is_none(),
        "an operator key belongs to no tenant, every other key to one: leave --tenant out"
    );
    let directory = open_directory(settings).await?;
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

async fn reseal(settings: &Settings) -> anyhow::Result<()> {
    let resealed = open_directory(settings).await?.reseal().await?;
    terminal::line(&format!(
        "sealed {resealed} endpoints, sources and key pairs with security.master_key: \
         security.other_master_key can be removed"
    ));
    Ok(())
}

async fn open_directory(settings: &Settings) -> anyhow::Result<Arc<Directory>> {
    let store = open_store(settings).await?;
    if settings.embedded_store_path().is_some() {
        store.migrate().await?;
    }
    let schema = store.schema().await?;
    ensure!(
        schema == SchemaState::Current,
        "run `fanfare migrate` first"
    );
    Ok(Directory::load(store, master_key(settings)?).await?)
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
