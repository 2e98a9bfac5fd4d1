//! A process starts only as it was meant to, and says what is wrong otherwise; targets are guarded
//! unless it was told not to.

use anyhow::{Context, Result};
use e2e::{Installation, Mode, SOON, in_both_modes};
use serde_json::json;
use testkit::{Fanfare, Receiver, Role, Services, Settings, among_others, scratch_folder};

in_both_modes!(
    private_targets_are_refused_unless_allowed,
    health_readiness_and_metrics_are_there,
);

async fn private_targets_are_refused_unless_allowed(mode: Mode) -> Result<()> {
    let closed = |settings: Settings| settings.without("FANFARE__SECURITY__ALLOW_PRIVATE_TARGETS");
    let installation = Installation::start_with(mode, closed).await?;
    let client = installation.tenant().await?;
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.1.2.3/",
        "https://192.168.0.1/",
        "https://172.16.0.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://224.0.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://user:pass@example.com/",
        "file:///etc/passwd",
    ] {
        let endpoint = json!({"url": url, "dialect": "standard", "event_types": ["*"]});
        let answer = client.post("/v1/endpoints", &endpoint).await?;
        assert_eq!(answer.status, 422, "{url}: {}", answer.text());
        assert!(answer.text().contains("/url"), "{url}: {}", answer.text());
    }
    client
        .create_endpoint("https://example.com/hook", json!({}))
        .await?;
    Ok(())
}

async fn health_readiness_and_metrics_are_there(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    for process in [&installation.ingest, installation.dispatcher()] {
        let anybody = process.client()?.with_key(None);
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(anybody.get(path).await?.status, 200, "{path}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_target_allowed_once_is_refused_at_connect_time_when_it_is_no_longer() -> Result<()> {
    let _turn = among_others().await;
    let receiver = Receiver::start().await?;
    let mut installation = Installation::start(Mode::Embedded).await?;
    let (tenant, client) = installation.named_tenant().await?;
    let settings = json!({"retry": {"delays_s": []}});
    client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    installation.ingest.kill()?;
    installation
        .ingest
        .change(|settings| settings.without("FANFARE__SECURITY__ALLOW_PRIVATE_TARGETS"));
    installation.ingest.restart().await?;
    let client = installation.operator()?.for_tenant(&tenant);
    client
        .publish(&json!({"id": "g", "type": "license.created", "data": {}}))
        .await?;
    let failed = client.delivery_with_status("g", "failed", SOON).await?;
    assert_eq!(
        failed["attempts"][0]["error"], "target_forbidden",
        "{failed}"
    );
    assert_eq!(receiver.count("/hook"), 0);
    Ok(())
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_every_mistake_and_exit_code_64() -> Result<()> {
    let _turn = among_others().await;
    let folder = scratch_folder()?;
    let settings = Settings::embedded(folder.path())?
        .with("FANFARE__STORE__URL", "mysql://nowhere/")
        .with("FANFARE__SECURITY__MASTER_KEY", "short")
        .with("FANFARE__HTTP__COLOUR", "blue");
    let mut fanfare = Fanfare::spawn(Role::Serve, settings)?;
    let status = fanfare.ended(SOON).await?;
    assert_eq!(status.code(), Some(64), "{}", fanfare.log());
    for mistake in ["store.url", "security.master_key", "http.colour"] {
        assert!(
            fanfare.log().contains(mistake),
            "{mistake}: {}",
            fanfare.log()
        );
    }
    assert!(!fanfare.log().contains("panicked"), "{}", fanfare.log());
    Ok(())
}

#[tokio::test]
async fn a_role_on_an_unmigrated_database_names_the_command_that_mends_it() -> Result<()> {
    let _turn = among_others().await;
    let services = Services::shared()?;
    let settings = Settings::on_services(&services).await?;
    for role in [Role::Ingest, Role::Dispatcher] {
        let mut fanfare = Fanfare::spawn(role, settings.clone())?;
        let status = fanfare.ended(SOON).await?;
        assert!(!status.success(), "{role:?} started");
        assert!(
            fanfare.log().contains("fanfare migrate"),
            "{role:?}: {}",
            fanfare.log()
        );
    }
    Ok(())
}

#[tokio::test]
async fn migrating_and_applying_twice_changes_nothing_and_verify_agrees() -> Result<()> {
    let _turn = among_others().await;
    let settings = Settings::on_services(&Services::shared()?).await?;
    assert!(
        settings.run(&["topology", "verify"]).await.is_err(),
        "nothing is declared yet"
    );
    for _ in 0..2 {
        settings.run(&["migrate"]).await?;
        settings.run(&["topology", "apply"]).await?;
    }
    settings.run(&["topology", "verify"]).await?;
    Ok(())
}

#[tokio::test]
async fn two_processes_cannot_share_an_embedded_store() -> Result<()> {
    let _turn = among_others().await;
    let installation = Installation::start(Mode::Embedded).await?;
    let mut second = Fanfare::spawn(Role::Serve, installation.ingest.settings().clone())?;
    let status = second
        .ended(SOON)
        .await
        .context("the second should give up")?;
    assert_eq!(status.code(), Some(1), "{}", second.log());
    installation
        .tenant()
        .await?
        .publish(&json!({"type": "license.created", "data": {}}))
        .await?;
    Ok(())
}
