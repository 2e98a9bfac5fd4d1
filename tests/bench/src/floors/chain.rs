//! The shortest durable way of one event: taken in over HTTP, committed, through the queue if there
//! is one, sent over HTTP. Nothing is matched, signed or recorded; its latency is what is left.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use futures::StreamExt;
use lapin::Channel;
use lapin::options::BasicAckOptions;
use tokio::sync::{mpsc, oneshot};

use super::{ChainLatency, Ground, broker, direct_template, postgres, sqlite};
use crate::event::{Marker, Template};
use crate::generator::{Connection, at_rate};
use crate::ledger::Ledger;
use crate::services::Corner;

/// Commits under way at once.
const STORE_CONNECTIONS: u32 = 4;
/// Numbers of the events of a chain begin here, so that none was inserted before.
const FIRST_NUMBER: u32 = 10_000_000;

/// The events of a chain that wait for their message.
type Waiting = Rc<RefCell<HashMap<u32, oneshot::Sender<()>>>>;

#[derive(Clone)]
enum Parts {
    Services {
        commits: mpsc::Sender<Commit>,
        publishing: Channel,
        waiting: Waiting,
    },
    Embedded {
        commits: mpsc::Sender<Commit>,
    },
}

type Commit = (u32, oneshot::Sender<()>);

impl Parts {
    async fn pass(&self, number: u32, message: &[u8]) -> anyhow::Result<()> {
        let (Self::Services { commits, .. } | Self::Embedded { commits }) = self;
        let (committed, is_committed) = oneshot::channel();
        commits
            .send((number, committed))
            .await
            .context("no store")?;
        is_committed.await.context("not committed")?;
        if let Self::Services {
            publishing,
            waiting,
            ..
        } = self
        {
            let (arrived, has_arrived) = oneshot::channel();
            waiting.borrow_mut().insert(number, arrived);
            broker::publish_one(publishing, message).await?;
            has_arrived.await.context("not consumed")?;
        }
        Ok(())
    }
}

pub(super) fn measure(ground: &Ground<'_>, per_second: u32) -> anyhow::Result<ChainLatency> {
    let events = per_second * ground.latency_s;
    let ledger = ground.receiver.open_ledger(events, 1);
    // Each rate has numbers of its own.
    let first = FIRST_NUMBER + per_second * 10_000;
    let local = tokio::task::LocalSet::new();
    ground.runtime.block_on(local.run_until(async {
        let (commits, to_commit) = mpsc::channel(1024);
        let parts = match ground.services {
            Some((_, corner)) => services_parts(ground, corner, commits, to_commit).await?,
            None => {
                let file = ground
                    .directory
                    .join(format!("floor-chain-{per_second}.db"));
                let store = sqlite::Store::open(ground, &file)?;
                std::thread::spawn(move || commit_blocking(store, to_commit));
                Parts::Embedded { commits }
            }
        };
        run(ground, &ledger, parts, per_second, first).await
    }))?;
    let latencies = ledger.latencies(|_| true);
    Ok(ChainLatency {
        per_second,
        p50_ms: latencies.percentile_ms(50.0),
        p99_ms: latencies.percentile_ms(99.0),
    })
}

async fn run(
    ground: &Ground<'_>,
    ledger: &Arc<Ledger>,
    parts: Parts,
    per_second: u32,
    first: u32,
) -> anyhow::Result<()> {
    let to = ground.receiver.address();
    let template = Rc::new(direct_template(ground.receiver, ledger));
    // Arrives at an endpoint that the ledger does not know: taking in is not the delivery.
    let publish = Rc::new(Template::direct(to, "/ok/1", ledger.run()));
    let idle = Rc::new(RefCell::new(Vec::new()));
    let work = |number| {
        let (ledger, parts, idle) = (ledger.clone(), parts.clone(), idle.clone());
        let (template, publish) = (template.clone(), publish.clone());
        async move {
            ledger.sent(number, Instant::now());
            let ready = idle.borrow_mut().pop();
            let mut connection = match ready {
                Some(connection) => connection,
                None => Connection::open(to).await?,
            };
            let mut request = Vec::new();
            publish.fill(number, &mut request);
            connection.exchange(&request).await?;
            parts
                .pass(first + number, &template.event(first + number))
                .await?;
            template.fill(number, &mut request);
            connection.exchange(&request).await?;
            idle.borrow_mut().push(connection);
            Ok(())
        }
    };
    at_rate(per_second, ledger.events(), work).await
}

async fn services_parts(
    ground: &Ground<'_>,
    corner: &Corner,
    commits: mpsc::Sender<Commit>,
    to_commit: mpsc::Receiver<Commit>,
) -> anyhow::Result<Parts> {
    let to_commit = Rc::new(tokio::sync::Mutex::new(to_commit));
    for _ in 0..STORE_CONNECTIONS {
        let store = postgres::Store::open(ground, corner).await?;
        tokio::task::spawn_local(commit(store, to_commit.clone()));
    }
    let url = corner.broker_url.as_str();
    let publishing = broker::Link::open(url).await?;
    let consuming = broker::Link::open(url).await?;
    let channel = publishing.channel.clone();
    let waiting = Waiting::default();
    let of_consumer = waiting.clone();
    let mut consumer = consuming.consume().await?;
    tokio::task::spawn_local(async move {
        // Both links live as long as this task.
        let _publishing = publishing;
        let _consuming = consuming;
        while let Some(Ok(delivery)) = consumer.next().await {
            let number = Marker::find(&delivery.data).map(|marker| marker.number);
            if let Some(arrived) = number.and_then(|n| of_consumer.borrow_mut().remove(&n)) {
                // Whoever waited has failed and said so.
                let _gone = arrived.send(());
            }
            if delivery
                .acker
                .ack(BasicAckOptions::default())
                .await
                .is_err()
            {
                return;
            }
        }
    });
    Ok(Parts::Services {
        commits,
        publishing: channel,
        waiting,
    })
}

async fn commit(
    mut store: postgres::Store,
    to_commit: Rc<tokio::sync::Mutex<mpsc::Receiver<Commit>>>,
) {
    loop {
        let next = to_commit.lock().await.recv().await;
        let Some((number, committed)) = next else {
            return;
        };
        // Dropping `committed` tells the one who waits.
        if store.accept(&[number], 1).await.is_ok() {
            let _gone = committed.send(());
        }
    }
}

/// Commits whatever has come together since the last commit.
fn commit_blocking(mut store: sqlite::Store, mut to_commit: mpsc::Receiver<Commit>) {
    while let Some(first) = to_commit.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(more) = to_commit.try_recv() {
            batch.push(more);
        }
        let numbers: Vec<_> = batch.iter().map(|(number, _)| *number).collect();
        if store.accept(&numbers, 1).is_ok() {
            for (_, committed) in batch {
                let _gone = committed.send(());
            }
        }
    }
}
