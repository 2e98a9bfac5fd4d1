use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::Behavior;
use crate::behavior::Then;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub at: Instant,
}

impl Received {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// What the dialect `standard` deduplicates by; empty if the header is missing.
    pub fn id(&self) -> &str {
        self.header("webhook-id").unwrap_or_default()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An HTTP server that records what it gets and behaves as it is told, path by path: 204 unless
/// told otherwise. It has a thread of its own, so that it keeps time whatever the test does.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    received: HashMap<String, Vec<Received>>,
    behaviors: HashMap<String, Behavior>,
    /// Go before `behaviors`, each for one request.
    scripts: HashMap<String, VecDeque<Behavior>>,
}

impl Receiver {
    pub async fn start() -> Result<Self> {
        Self::at(0).await
    }

    /// On a given port, 0 for any.
    #[expect(
        clippy::unused_async,
        reason = "called like the other parts of an installation"
    )]
    pub async fn at(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            runtime.block_on(async {
                let listener =
                    tokio::net::TcpListener::from_std(listener).expect("a non-blocking listener");
                tokio::select! {
                    () = accept(&listener, &serving) => {}
                    _dropped = stopped => {}
                }
            });
            // With the runtime go the listener and all connections.
        });
        Ok(Self {
            address,
            shared,
            _stop: stop,
        })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets what happens to requests of a path from now on.
    pub fn behave(&self, path: &str, behavior: Behavior) {
        self.shared
            .state
            .lock()
            .behaviors
            .insert(path.to_owned(), behavior);
    }

    /// Sets what happens to the next requests of a path, one behavior each.
    pub fn script(&self, path: &str, behaviors: impl IntoIterator<Item = Behavior>) {
        let mut state = self.shared.state.lock();
        state
            .scripts
            .entry(path.to_owned())
            .or_default()
            .extend(behaviors);
    }

    /// What has arrived at a path so far, in order.
    pub fn received(&self, path: &str) -> Vec<Received> {
        self.shared
            .state
            .lock()
            .received
            .get(path)
            .cloned()
            .unwrap_or_default()
    }

    /// How many requests have arrived at a path.
    pub fn count(&self, path: &str) -> usize {
        self.shared
            .state
            .lock()
            .received
            .get(path)
            .map_or(0, Vec::len)
    }

    /// How many different ids have arrived at a path.
    pub fn count_distinct(&self, path: &str) -> usize {
        let state = self.shared.state.lock();
        let Some(received) = state.received.get(path) else {
            return 0;
        };
        received
            .iter()
            .map(Received::id)
            .collect::<HashSet<_>>()
            .len()
    }

    /// Forgets what has arrived.
    pub fn forget(&self) {
        self.shared.state.lock().received.clear();
    }

    /// Waits until `count` requests have arrived at a path; answers all that have.
    pub async fn wait_for(
        &self,
        path: &str,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<Received>> {
        self.wait_until(path, limit, |receiver| receiver.count(path) >= count)
            .await
            .with_context(|| format!("{count} requests"))?;
        Ok(self.received(path))
    }

    /// Waits until `count` different ids have arrived at a path.
    pub async fn wait_for_distinct(&self, path: &str, count: usize, limit: Duration) -> Result<()> {
        // Counting costs, so it is done only once there can be enough.
        self.wait_until(path, limit, |receiver| {
            receiver.count(path) >= count && receiver.count_distinct(path) >= count
        })
        .await
        .with_context(|| {
            format!(
                "{count} different ids, {} arrived",
                self.count_distinct(path)
            )
        })
    }

    async fn wait_until(
        &self,
        path: &str,
        limit: Duration,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        let wait = async {
            loop {
                let arrival = self.shared.arrived.notified();
                if enough(self) {
                    return;
                }
                // A look now and then as well: notices between two looks are merged.
                let _either = tokio::time::timeout(Duration::from_millis(100), arrival).await;
            }
        };
        tokio::time::timeout(limit, wait).await.map_err(|_| {
            anyhow::anyhow!(
                "not within {limit:?}: {path} has got {} requests",
                self.count(path)
            )
        })
    }
}

/// A port of 127.0.0.1 at which every connection is refused.
pub fn closed_port() -> u16 {
    crate::free_port()
}

async fn accept(listener: &tokio::net::TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _unsupported = stream.set_nodelay(true);
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let _broken_by_the_peer = serve(stream, &shared).await;
        });
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let behavior = shared.record(request);
        match behavior.act(&mut stream).await? {
            Then::KeepOpen => {}
            Then::Close => return Ok(()),
        }
    }
}

impl Shared {
    fn record(&self, request: Received) -> Behavior {
        let mut state = self.state.lock();
        let path = request.path.clone();
        let scripted = state.scripts.get_mut(&path).and_then(VecDeque::pop_front);
        let behavior = scripted
            .or_else(|| state.behaviors.get(&path).cloned())
            .unwrap_or_else(|| Behavior::status(204));
        state.received.entry(path).or_default().push(request);
        drop(state);
        self.arrived.notify_waiters();
        behavior
    }
}

/// `None` when the peer closes between requests.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
) -> std::io::Result<Option<Received>> {
    let head_bytes = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let at = Instant::now();
    let head = buffer.split_to(head_bytes).freeze();
    let Some((method, path, headers)) = parse_head(&head) else {
        return Ok(None);
    };
    let body_bytes = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    while buffer.len() < body_bytes {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = Bytes::copy_from_slice(&buffer[..body_bytes]);
    buffer.advance(body_bytes);
    Ok(Some(Received {
        method,
        path,
        headers,
        body,
        at,
    }))
}

/// Method, target and headers.
type Head = (String, String, Vec<(String, String)>);

fn parse_head(head: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut request_line = lines.next()?.split(' ').map(str::to_owned);
    let (method, path) = (request_line.next()?, request_line.next()?);
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some((method, path, headers))
}
