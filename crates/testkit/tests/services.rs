//! The services that tests get are real, apart from one another, and can be killed.

use anyhow::Result;
use testkit::{Service, Services};
use tokio::net::TcpStream;

fn port(url: &str) -> u16 {
    let (_, after) = url.rsplit_once(':').unwrap_or_default();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

const SOON: std::time::Duration = std::time::Duration::from_secs(5);

async fn answers(url: &str) -> bool {
    TcpStream::connect(("127.0.0.1", port(url))).await.is_ok()
}

#[tokio::test]
async fn every_database_and_virtual_host_is_fresh() -> Result<()> {
    let services = Services::shared()?;
    let (one, other) = (
        services.fresh_database().await?,
        services.fresh_database().await?,
    );
    assert_ne!(one, other);
    let (_, name) = one.rsplit_once('/').unwrap_or_default();
    assert_eq!(services.sql(name, "select 1 + 1").await?, "2");
    let vhost = services.fresh_vhost().await?;
    let (_, name) = vhost.rsplit_once('/').unwrap_or_default();
    assert!(services.rabbitmqctl(&["list_vhosts"]).await?.contains(name));
    assert_ne!(services.fresh_redis(), services.fresh_redis());
    Ok(())
}

#[tokio::test]
async fn the_shared_ones_cannot_be_killed_by_a_test() -> Result<()> {
    assert!(Services::shared()?.kill(Service::Redis).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_killed_service_comes_back_on_its_port_with_its_data_unless_wiped() -> Result<()> {
    let services = Services::private().await?;
    services
        .sql("postgres", "create table kept (a int)")
        .await?;
    services.kill(Service::Postgres).await?;
    assert!(!answers(services.postgres_url()).await);
    services.start(Service::Postgres).await?;
    assert_eq!(
        services
            .sql("postgres", "select count(*) from kept")
            .await?,
        "0"
    );
    services.wipe(Service::Postgres).await?;
    services.start(Service::Postgres).await?;
    assert!(
        services
            .sql("postgres", "select count(*) from kept")
            .await
            .is_err()
    );

    services.kill(Service::RabbitMq).await?;
    testkit::eventually("the port to be closed", SOON, async || {
        (!answers(services.amqp_url()).await).then_some(())
    })
    .await?;
    services.start(Service::RabbitMq).await?;
    assert!(answers(services.amqp_url()).await);

    let redis = services.redis_url().to_owned();
    drop(services);
    assert!(!answers(&redis).await);
    Ok(())
}
