//! `serve --dev`: a demo tenant, its operator key, and a receiver that shows what arrives.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use dialect::Dialect;
use model::{Endpoint, EndpointId, Plan, Tenant, TenantId};
use receiver::{Receiver, ReceiverConfig};
use secrecy::{ExposeSecret, SecretString};
use store::DirectoryError;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::commands::show;
use crate::settings::Settings;
use crate::terminal;
use crate::wiring::{Wired, ensure_operator_key, read_or_make};

const TENANT: &str = "demo";
/// Beside the store: the operator key that was made on the first start.
pub(crate) const KEY_FILE: &str = "demo-operator.key";
const ENDPOINT_NAME: &str = "Bundled receiver";
/// Where the receiver listens, unless the port is taken.
const RECEIVER_PORT: u16 = 8081;

/// Sets the demo up, says how to use it, and serves the receiver until `stop`.
pub(crate) async fn demo(
    wired: Wired,
    api: SocketAddr,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let key = operator_key(&wired.settings)?;
    ensure_operator_key(&wired.directory, &key, "demo operator").await?;
    let tenant = TenantId::new(TENANT)?;
    create_tenant(&wired, &tenant).await?;
    let listener = match TcpListener::bind((api.ip(), RECEIVER_PORT)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((api.ip(), 0))
            .await
            .context("starting the receiver")?,
    };
    let address = listener.local_addr()?;
    let endpoint = ensure_endpoint(&wired, &tenant, address).await?;
    let secret = endpoint
        .secrets
        .first()
        .context("the demo endpoint has no secret")?;
    let receiver = Receiver::new(ReceiverConfig {
        dialect: Dialect::DEFAULT,
        secret: Some(secret.value.clone()),
    });
    say(api, address, &key);
    let print = show(receiver.subscribe(), |line| {
        terminal::line(&format!("received  {line}"));
    });
    let server = axum::serve(listener, receiver.router())
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        served = server => served?,
        () = print => {}
        () = stop.cancelled() => {}
    }
    Ok(())
}

fn say(api: SocketAddr, receiver: SocketAddr, key: &SecretString) {
    let key = key.expose_secret();
    terminal::line(&format!(
        r#"
Fanfare is running, for development.

  API        http://{api}/docs
  receiver   http://{receiver}/   shows what arrives
  tenant     {TENANT}
  API key    {key}

Publish an event, then look at its deliveries:

  curl -s http://{api}/v1/events -H 'Authorization: Bearer {key}' -H 'Fanfare-Tenant: {TENANT}' \
    -H 'Content-Type: application/json' \
    -d '{{"type":"license.created","data":{{"license":{{"id":"lic_1","key":"KP-ABCD-EFGH-IJKL","status":"active"}}}}}}'

  curl -s http://{api}/v1/deliveries -H 'Authorization: Bearer {key}' -H 'Fanfare-Tenant: {TENANT}'
"#
    ));
}

/// The bootstrap key, or one that is made on the first start and kept beside the store.
fn operator_key(settings: &Settings) -> anyhow::Result<SecretString> {
    if let Some(key) = &settings.bootstrap_api_key {
        return Ok(key.clone());
    }
    let Some(store) = settings.embedded_store_path() else {
        return Ok(web::new_key(ambient::random_secret()).0);
    };
    let fresh = || web::new_key(ambient::random_secret()).0;
    let text = read_or_make(&store.with_file_name(KEY_FILE), fresh)?;
    Ok(SecretString::from(text.trim().to_owned()))
}

async fn create_tenant(wired: &Wired, id: &TenantId) -> anyhow::Result<()> {
    let tenant = Tenant {
        id: id.clone(),
        name: "Demo".to_owned(),
        plan: Plan::Enterprise,
        created_at: ambient::now(),
    };
    match wired.directory.put_tenant(tenant, true).await {
        Ok(()) | Err(DirectoryError::Store(store::StoreError::Conflict)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The endpoint of the bundled receiver, at its address of today.
async fn ensure_endpoint(
    wired: &Wired,
    tenant: &TenantId,
    receiver: SocketAddr,
) -> anyhow::Result<Arc<Endpoint>> {
    let url: url::Url = format!("http://{receiver}/webhooks").parse()?;
    let snapshot = wired.directory.snapshot();
    let existing = snapshot
        .tenant(tenant)
        .into_iter()
        .flat_map(|tenant| &tenant.endpoints)
        .find(|endpoint| endpoint.name.as_deref() == Some(ENDPOINT_NAME));
    if let Some(endpoint) = existing {
        let moved = |endpoint: &mut Endpoint| {
            endpoint.url = url.clone();
            Ok::<_, DirectoryError>(())
        };
        let endpoint = wired.directory.update_endpoint(endpoint.id, &moved).await?;
        return endpoint.context("the demo endpoint was deleted at this moment");
    }
    let id = EndpointId::new(ambient::now(), ambient::random_id());
    let secret = Dialect::generate_secret(ambient::random_secret());
    let dialect = Dialect::DEFAULT.name();
    let endpoint = Endpoint {
        name: Some(ENDPOINT_NAME.to_owned()),
        description: Some("Made by `fanfare serve --dev`.".to_owned()),
        ..Endpoint::new(id, tenant.clone(), url, dialect, secret)
    };
    Ok(wired.directory.put_endpoint(endpoint).await?)
}
