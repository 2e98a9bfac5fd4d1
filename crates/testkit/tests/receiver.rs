//! The receiver and the proxy do what the tests of Fanfare rely on.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use testkit::{Behavior, Client, Fault, FaultProxy, Receiver, closed_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn records_path_headers_and_body() -> Result<()> {
    let receiver = Receiver::start().await?;
    let client = Client::operator(&receiver.url(""))?;
    assert_eq!(client.post("/a?b=c", &json!({"n": 1})).await?.status, 204);
    let received = receiver.wait_for("/a?b=c", 1, SECOND).await?;
    assert_eq!(received[0].header("content-type"), Some("application/json"));
    assert_eq!(received[0].json(), json!({"n": 1}));
    Ok(())
}

#[tokio::test]
async fn follows_its_script_then_its_standing_behavior() -> Result<()> {
    let receiver = Receiver::start().await?;
    let client = Client::operator(&receiver.url(""))?;
    receiver.script(
        "/",
        [
            Behavior::status(500),
            Behavior::with_header(503, "Retry-After", "9"),
        ],
    );
    receiver.behave("/", Behavior::status(418));
    assert_eq!(client.get("/").await?.status, 500);
    assert_eq!(client.get("/").await?.header("retry-after"), Some("9"));
    assert_eq!(client.get("/").await?.status, 418);
    assert_eq!(client.get("/other").await?.status, 204);
    Ok(())
}

#[tokio::test]
async fn misbehaves_to_order() -> Result<()> {
    let receiver = Receiver::start().await?;
    let raw = async |behavior: Behavior| -> Result<Result<Vec<u8>, std::io::ErrorKind>> {
        receiver.behave("/", behavior);
        let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).await?;
        stream
            .write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            .await?;
        let mut bytes = Vec::new();
        match tokio::time::timeout(2 * SECOND, stream.read_to_end(&mut bytes)).await {
            Ok(Ok(_)) => Ok(Ok(bytes)),
            Ok(Err(error)) => Ok(Err(error.kind())),
            Err(_) => Ok(Err(std::io::ErrorKind::TimedOut)),
        }
    };
    assert_eq!(
        raw(Behavior::Reset).await?,
        Err(std::io::ErrorKind::ConnectionReset)
    );
    assert_eq!(raw(Behavior::Close).await?, Ok(Vec::new()));
    assert_eq!(
        raw(Behavior::Hang).await?,
        Err(std::io::ErrorKind::TimedOut)
    );
    assert_eq!(
        raw(Behavior::DripBody).await?,
        Err(std::io::ErrorKind::TimedOut)
    );
    assert!(
        raw(Behavior::CloseInBody)
            .await?
            .unwrap()
            .ends_with(b"half of")
    );
    assert!(
        raw(Behavior::HugeHeaders { bytes: 1 << 20 })
            .await?
            .unwrap()
            .len()
            > 1 << 20
    );
    Ok(())
}

#[tokio::test]
async fn a_closed_port_refuses() -> Result<()> {
    let error = TcpStream::connect(("127.0.0.1", closed_port()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    Ok(())
}

#[tokio::test]
async fn the_proxy_carries_delays_swallows_and_resets() -> Result<()> {
    let receiver = Receiver::start().await?;
    let proxy = FaultProxy::to(receiver.port()).await?;
    assert_eq!(
        proxy.instead_of("redis://127.0.0.1:1234/7"),
        format!("redis://127.0.0.1:{}/7", proxy.port())
    );
    let client = Client::operator(&format!("http://127.0.0.1:{}", proxy.port()))?;
    assert_eq!(client.get("/").await?.status, 204);

    proxy.set(Fault::Latency(Duration::from_millis(100)));
    let from = Instant::now();
    assert_eq!(client.get("/").await?.status, 204);
    assert!(
        from.elapsed() >= Duration::from_millis(200),
        "there and back"
    );

    proxy.set(Fault::Blackhole);
    assert!(
        tokio::time::timeout(SECOND / 2, client.get("/"))
            .await
            .is_err()
    );
    proxy.set(Fault::Reset);
    assert!(client.get("/").await.is_err());
    proxy.set(Fault::None);
    assert_eq!(client.get("/").await?.status, 204);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_up_with_a_busy_sender() -> Result<()> {
    const REQUESTS: usize = 20_000;
    const CONNECTIONS: usize = 16;
    let receiver = Receiver::start().await?;
    let from = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let port = receiver.port();
        senders.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            let request = b"POST /load HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
            let mut answer = [0; b"HTTP/1.1 204 No Content\r\n\r\n".len()];
            for _ in 0..REQUESTS / CONNECTIONS {
                stream.write_all(request).await?;
                stream.read_exact(&mut answer).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    assert_eq!(receiver.count("/load"), REQUESTS);
    // Without optimization and beside other tests; alone it is several times as fast.
    assert!(from.elapsed() < 10 * SECOND, "{:?}", from.elapsed());
    Ok(())
}
