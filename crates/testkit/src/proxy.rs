use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a line does to those who use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it carries.
    None,
    /// Each piece arrives so much later.
    Latency(Duration),
    /// Connections stay, new ones are accepted, and nothing arrives any more.
    Blackhole,
    /// Connections are reset, new ones too.
    Reset,
}

/// A TCP proxy on 127.0.0.1 whose line can be spoiled at run time.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    target: Arc<AtomicU16>,
    fault: watch::Sender<Fault>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Forwards to a port of 127.0.0.1.
    pub async fn to(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (fault, faults) = watch::channel(Fault::None);
        let target = Arc::new(AtomicU16::new(target));
        let current = Arc::clone(&target);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                let (faults, target) = (faults.clone(), current.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    let _broken = carry(client, target, faults).await;
                });
            }
        });
        Ok(Self {
            port,
            target,
            fault,
            accepting,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another port; those that exist stay where they are.
    pub fn redirect(&self, target: u16) {
        self.target.store(target, Ordering::Relaxed);
    }

    /// Changes the line, for the connections that exist as well.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// The same URL with the proxy's port in place of the target's.
    pub fn instead_of(&self, url: &str) -> String {
        let at = url.rfind(':').map_or(url.len(), |colon| colon + 1);
        let rest = url[at..].trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{}{}{rest}", &url[..at], self.port)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, target: u16, mut faults: watch::Receiver<Fault>) -> Result<()> {
    let server = TcpStream::connect(("127.0.0.1", target)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    for end in [&client, &server] {
        // Whoever drops a connection here means to cut it, not to say goodbye.
        socket2::SockRef::from(end).set_linger(Some(Duration::ZERO))?;
    }
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    tokio::select! {
        result = pump(client_reads, server_writes, faults.clone()) => result,
        result = pump(server_reads, client_writes, faults.clone()) => result,
        _reset = faults.wait_for(|fault| *fault == Fault::Reset) => Ok(()),
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Fault>,
) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = from.read(&mut buffer).await?;
        faults.wait_for(|fault| *fault != Fault::Blackhole).await?;
        let fault = *faults.borrow();
        if let Fault::Latency(latency) = fault {
            tokio::time::sleep(latency).await;
        }
        if bytes == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..bytes]).await?;
    }
}
