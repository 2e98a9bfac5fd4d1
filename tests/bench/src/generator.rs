//! The generator: publishes events over kept connections, as fast as they are answered (closed
//! loop) or at a fixed rate, whatever the answers do (open loop).

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use crate::event::Template;
use crate::http;
use crate::ledger::Ledger;

/// Failures that are told in full; the others are counted.
const FAILURES_TOLD_MAX: usize = 5;
/// Connections that an open loop has open before it begins.
const OPEN_LOOP_CONNECTIONS: usize = 16;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// One kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to)
            .await
            .with_context(|| format!("no connection to {to}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends a request, answers the status and the body of the response.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        let head = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed before the answer");
            }
            match http::head(&self.buffer) {
                Ok(Some(head)) if self.buffer.len() >= head.message_bytes() => break head,
                Ok(_) => {}
                Err(malformed) => bail!("unreadable answer: {malformed}"),
            }
        };
        let status = http::status(&self.buffer).context("an answer without a status")?;
        Ok((status, &self.buffer[head.head_bytes..head.message_bytes()]))
    }
}

/// Publications that were not accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures {
    pub count: usize,
    pub told: Vec<String>,
}

impl Failures {
    fn add(&mut self, number: u32, what: &str) {
        self.count += 1;
        if self.told.len() < FAILURES_TOLD_MAX {
            self.told.push(format!("event {number}: {what}"));
        }
    }
}

/// What to publish: event `number` with the template `number % templates`.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub to: SocketAddr,
    pub templates: Rc<[Template]>,
    pub ledger: Arc<Ledger>,
}

impl Load {
    /// Publishes the whole ledger over `connections`, each with one request in flight.
    pub(crate) async fn closed_loop(&self, connections: usize) -> anyhow::Result<Failures> {
        let next = Rc::new(Cell::new(0));
        let failures = Rc::new(RefCell::new(Failures::default()));
        let local = LocalSet::new();
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::open(self.to).await?);
        }
        let mut workers = JoinSet::new();
        for mut connection in open {
            let (load, next, failures) = (self.clone(), next.clone(), failures.clone());
            let work = async move {
                let mut request = Vec::new();
                while next.get() < load.ledger.events() {
                    let number = next.replace(next.get() + 1);
                    load.publish(number, &mut request, &mut connection, &failures)
                        .await?;
                }
                Ok::<_, anyhow::Error>(())
            };
            workers.spawn_local_on(work, &local);
        }
        local
            .run_until(async {
                while let Some(done) = workers.join_next().await {
                    done??;
                }
                Ok::<_, anyhow::Error>(())
            })
            .await?;
        Ok(failures.take())
    }

    /// Publishes the whole ledger at a fixed rate; latencies count from when each was due to go.
    pub(crate) async fn open_loop(&self, per_second: u32) -> anyhow::Result<Failures> {
        let failures = Rc::new(RefCell::new(Failures::default()));
        let idle = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..OPEN_LOOP_CONNECTIONS {
            let connection = Connection::open(self.to).await?;
            idle.borrow_mut().push(connection);
        }
        let publish = |number| {
            let (load, idle, failures) = (self.clone(), idle.clone(), failures.clone());
            async move {
                load.ledger.sent(number, Instant::now());
                let ready = idle.borrow_mut().pop();
                let mut connection = match ready {
                    Some(connection) => connection,
                    None => Connection::open(load.to).await?,
                };
                let mut request = Vec::new();
                load.publish(number, &mut request, &mut connection, &failures)
                    .await?;
                idle.borrow_mut().push(connection);
                Ok(())
            }
        };
        at_rate(per_second, self.ledger.events(), publish).await?;
        Ok(failures.take())
    }

    async fn publish(
        &self,
        number: u32,
        request: &mut Vec<u8>,
        connection: &mut Connection,
        failures: &RefCell<Failures>,
    ) -> anyhow::Result<()> {
        self.templates[number as usize % self.templates.len()].fill(number, request);
        self.ledger.sent_unless_noted(number, Instant::now());
        let failure = match tokio::time::timeout(ANSWER_TIMEOUT, connection.exchange(request)).await
        {
            Ok(Ok((200..=299, _))) => return Ok(()),
            Ok(Ok((status, body))) => format!("{status} {}", String::from_utf8_lossy(body)),
            Ok(Err(error)) => {
                *connection = Connection::open(self.to).await?;
                format!("{error:#}")
            }
            Err(_) => {
                *connection = Connection::open(self.to).await?;
                format!("no answer within {ANSWER_TIMEOUT:?}")
            }
        };
        failures.borrow_mut().add(number, &failure);
        Ok(())
    }
}

/// Starts `work(0)`, `work(1)`, … evenly spaced, each whether or not those before are done, and
/// waits for all.
pub(crate) async fn at_rate<F>(
    per_second: u32,
    count: u32,
    work: impl Fn(u32) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + 'static,
{
    let local = LocalSet::new();
    let mut running = JoinSet::new();
    local
        .run_until(async {
            let start = tokio::time::Instant::now();
            for number in 0..count {
                let due = Duration::from_secs(1) * number / per_second;
                tokio::time::sleep_until(start + due).await;
                running.spawn_local(work(number));
                while let Some(done) = running.try_join_next() {
                    done??;
                }
            }
            while let Some(done) = running.join_next().await {
                done??;
            }
            Ok(())
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::{Habit, Receiver, path};

    fn load(receiver: &Receiver, events: u32) -> Load {
        let ledger = receiver.open_ledger(events, 1);
        let path = path(Habit::Answers, 0);
        let template = Template::direct(receiver.address(), &path, ledger.run());
        Load {
            to: receiver.address(),
            templates: [template].into(),
            ledger,
        }
    }

    #[tokio::test]
    async fn every_event_of_a_closed_loop_arrives_once() {
        let receiver = Receiver::start().unwrap();
        let load = load(&receiver, 1_000);
        let failures = load.closed_loop(8).await.unwrap();
        assert_eq!(failures.count, 0, "{failures:?}");
        assert_eq!(
            (load.ledger.arrivals(), load.ledger.duplicates()),
            (1_000, 0)
        );
        assert!(load.ledger.span_s() > 0.0);
    }

    #[tokio::test]
    async fn an_open_loop_keeps_its_rate() {
        let receiver = Receiver::start().unwrap();
        let load = load(&receiver, 100);
        let failures = load.open_loop(1_000).await.unwrap();
        assert_eq!(failures.count, 0, "{failures:?}");
        assert_eq!(load.ledger.missing(|_| true), 0);
        // 99 ms, less what the first arrival was late by; all at once would take next to none.
        assert!(load.ledger.span_s() >= 0.07, "{}", load.ledger.span_s());
        assert_eq!(load.ledger.latencies(|_| true).count(), 100);
    }
}
