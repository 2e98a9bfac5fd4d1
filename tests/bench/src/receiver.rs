//! The receiver: one thread that reads requests, notes them in the ledger and answers as their path
//! says.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::event::Marker;
use crate::http;
use crate::ledger::Ledger;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const READ_BYTES: usize = 16 * 1024;
/// Larger than any delivery of this bench.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How long the endpoints under `/hang` take to answer.
pub(crate) const HANG: Duration = Duration::from_secs(10);

/// What an endpoint does with a delivery after it is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Answers 200 at once.
    Answers,
    /// Answers 200 when the gate is open.
    WaitsAtGate,
    /// Answers 200 after [`HANG`].
    Hangs,
    /// Keeps the connection and says nothing.
    NeverAnswers,
}

impl Habit {
    const ALL: [Self; 4] = [
        Self::Answers,
        Self::WaitsAtGate,
        Self::Hangs,
        Self::NeverAnswers,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "ok",
            Self::WaitsAtGate => "gate",
            Self::Hangs => "hang",
            Self::NeverAnswers => "never",
        }
    }
}

/// Path of an endpoint with this habit, the `number`-th that an event goes to.
pub(crate) fn path(habit: Habit, number: usize) -> String {
    format!("/{}/{number}", habit.as_str())
}

fn parse_path(path: &[u8]) -> Option<(Habit, usize)> {
    let (habit, number) = std::str::from_utf8(path)
        .ok()?
        .strip_prefix('/')?
        .split_once('/')?;
    let habit = Habit::ALL
        .into_iter()
        .find(|known| known.as_str() == habit)?;
    Some((habit, number.parse().ok()?))
}

#[derive(Debug)]
struct Shared {
    ledger: RwLock<Arc<Ledger>>,
    gate: watch::Receiver<bool>,
}

/// A running receiver.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    gate: watch::Sender<bool>,
}

impl Receiver {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (gate, at_gate) = watch::channel(true);
        let ledger = RwLock::new(Arc::new(Ledger::new(0, 0)));
        let shared = Arc::new(Shared {
            ledger,
            gate: at_gate,
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let of_thread = shared.clone();
        std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || runtime.block_on(listen(listener, of_thread)))
            .context("no thread for the receiver")?;
        Ok(Self {
            address,
            shared,
            gate,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, habit: Habit, number: usize) -> String {
        format!("http://{}{}", self.address, path(habit, number))
    }

    /// From now on arrivals are noted in a new ledger.
    pub(crate) fn open_ledger(&self, events: u32, fan: usize) -> Arc<Ledger> {
        let ledger = Arc::new(Ledger::new(events, fan));
        *self.shared.ledger.write().expect("never poisoned") = ledger.clone();
        ledger
    }

    /// Opens or closes the gate of [`Habit::WaitsAtGate`].
    pub(crate) fn set_gate(&self, open: bool) {
        self.gate.send_replace(open);
    }
}

async fn listen(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a listening socket");
    loop {
        // Out of file descriptors: the deliveries that fail show in the ledger.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(serve(stream, shared.clone()));
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        // A connection that ends in the middle of a request is a delivery that did not arrive.
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        loop {
            match next_message(&buffer, &shared) {
                Message::Incomplete => break,
                Message::Unreadable => return,
                Message::Noted(habit, message_bytes) => {
                    buffer.drain(..message_bytes);
                    if !answer(habit, &mut stream, &shared).await {
                        return;
                    }
                }
            }
        }
    }
}

enum Message {
    Incomplete,
    /// Ends the connection: the ledger will miss the delivery.
    Unreadable,
    /// To be answered; with the bytes it took.
    Noted(Habit, usize),
}

/// Notes the request at the start of `buffer`, if it is complete.
fn next_message(buffer: &[u8], shared: &Shared) -> Message {
    let head = match http::head(buffer) {
        Ok(Some(head)) if head.message_bytes() <= MESSAGE_BYTES_MAX => head,
        Ok(None) => return Message::Incomplete,
        Ok(Some(_)) | Err(_) => return Message::Unreadable,
    };
    let Some(body) = buffer.get(head.head_bytes..head.message_bytes()) else {
        return Message::Incomplete;
    };
    let path = http::path(&buffer[..head.first_line_bytes]);
    let Some((habit, endpoint)) = path.and_then(parse_path) else {
        return Message::Unreadable;
    };
    let ledger = shared.ledger.read().expect("never poisoned").clone();
    ledger.arrived(Marker::find(body), endpoint, Instant::now());
    Message::Noted(habit, head.message_bytes())
}

/// Whether the connection goes on.
async fn answer(habit: Habit, stream: &mut TcpStream, shared: &Shared) -> bool {
    match habit {
        Habit::Answers => {}
        Habit::WaitsAtGate => {
            if shared.gate.clone().wait_for(|open| *open).await.is_err() {
                return false;
            }
        }
        Habit::Hangs => tokio::time::sleep(HANG).await,
        Habit::NeverAnswers => {
            // Until the other side gives up.
            let _given_up = stream.read_u8().await;
            return false;
        }
    }
    stream.write_all(ANSWER).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_habit_and_endpoint() {
        for habit in Habit::ALL {
            assert_eq!(parse_path(path(habit, 12).as_bytes()), Some((habit, 12)));
        }
        assert_eq!(parse_path(b"/nonsense/1"), None);
        assert_eq!(parse_path(b"/ok"), None);
    }
}
