use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dialect::Rendered;
use sender::{Reply, Request, Sender, SenderConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// A receiver on a loopback port that does with each connection what the test wants.
pub(crate) struct Peer {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    pub(crate) async fn start<F, R>(handle: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(handle(stream));
            }
        });
        Self { port, connections }
    }

    /// Answers every request on a connection with these bytes, then closes.
    pub(crate) async fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response: Arc<[u8]> = response.into().into();
        Self::start(move |mut stream| {
            let response = Arc::clone(&response);
            async move {
                read_request(&mut stream).await?;
                stream.write_all(&response).await
            }
        })
        .await
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://127.0.0.1:{}/hooks?a=b", self.port)
            .parse()
            .unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads one request, head and body; the text of it.
pub(crate) async fn read_request(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Ok(text.into_owned());
        }
    }
}

/// A sender that may reach loopback, as in development.
pub(crate) fn sender() -> Sender {
    let config = SenderConfig {
        allow_private_targets: true,
        ..SenderConfig::default()
    };
    Sender::new(&config).unwrap()
}

pub(crate) fn rendered() -> Rendered {
    Rendered {
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", "evt_1".to_owned()),
        ],
        body: r#"{"type":"license.created","data":{}}"#.into(),
    }
}

pub(crate) async fn send(sender: &Sender, url: &Url, timeout: Duration) -> Reply {
    let headers = BTreeMap::new();
    sender
        .send(Request {
            url,
            rendered: rendered(),
            headers: &headers,
            timeout,
        })
        .await
}

/// Long enough for anything that answers at all.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);
/// For receivers that do not: the deadline is what is tested.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
