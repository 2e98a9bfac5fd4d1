//! The roles: what each runs, and how it ends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api::ApiState;
use axum::Router;
use axum::serve::ListenerExt;
use dispatcher::{Dispatcher, Parts, Releaser, Sweeper};
use exporter::{Exporter, Management};
use ingest::{Acceptor, IngestState, Intake};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::health::{self, Needs};
use crate::settings::Settings;
use crate::wiring::Wired;
use crate::{certificates, dev};

/// Every role in one process.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let dev = settings.dev;
    let wired = Wired::open(settings, "serve").await?;
    let mut running = Running::start(&wired);
    running.dispatch(&wired);
    running.look_around(&wired)?;
    let router = running.take_in(&wired);
    let needs = if wired.settings.is_embedded_broker() {
        Needs::StoreAndBroker
    } else {
        Needs::StoreOrBroker
    };
    let listener = running.http(&wired, router, needs).await?;
    if dev {
        running
            .tasks
            .spawn(dev::demo(wired.clone(), listener, running.stop.clone()));
    } else if wired.directory.snapshot().keys().next().is_none() {
        tracing::warn!(
            "there is no API key yet: stop this process and run `fanfare key create --role \
             operator`, or set FANFARE__BOOTSTRAP__API_KEY"
        );
    }
    running.until_stopped(wired).await
}

/// Events in, and the API.
pub(crate) async fn ingest(settings: Settings) -> anyhow::Result<()> {
    let wired = Wired::open(settings, "ingest").await?;
    let mut running = Running::start(&wired);
    let router = running.take_in(&wired);
    running.http(&wired, router, Needs::StoreOrBroker).await?;
    running.until_stopped(wired).await
}

/// Deliveries out.
pub(crate) async fn dispatcher(settings: Settings) -> anyhow::Result<()> {
    let wired = Wired::open(settings, "dispatcher").await?;
    let mut running = Running::start(&wired);
    running.dispatch(&wired);
    running.http(&wired, Router::new(), Needs::Broker).await?;
    running.until_stopped(wired).await
}

/// Metrics of the whole installation.
pub(crate) async fn exporter(settings: Settings) -> anyhow::Result<()> {
    let wired = Wired::open(settings, "exporter").await?;
    let mut running = Running::start(&wired);
    running.look_around(&wired)?;
    running
        .http(&wired, Router::new(), Needs::StoreAndBroker)
        .await?;
    running.until_stopped(wired).await
}

/// The tasks of a process, and the token that ends them.
struct Running {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Running {
    fn start(wired: &Wired) -> Self {
        let mut running = Self {
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        let directory = Arc::clone(&wired.directory);
        running.spawn(|stop| async move {
            stop.run_until_cancelled(directory.follow()).await;
        });
        let wired = wired.clone();
        running.spawn(|stop| async move {
            stop.run_until_cancelled(health::watch(&wired)).await;
        });
        running
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        task: impl FnOnce(CancellationToken) -> F,
    ) {
        let task = task(self.stop.clone());
        self.tasks.spawn(async move {
            task.await;
            Ok(())
        });
    }

    fn take_in(&mut self, wired: &Wired) -> Router {
        let acceptor = Arc::new(Acceptor::new(ingest::Parts {
            store: Arc::clone(&wired.store),
            store_watch: Arc::clone(&wired.store_watch),
            broker: Arc::clone(&wired.broker),
            directory: Arc::clone(&wired.directory),
            broker_stands_in: !wired.settings.is_embedded_broker(),
            metrics: wired.metrics.clone(),
            traces: wired.traces.clone(),
        }));
        let intake = Intake::new(Arc::clone(&acceptor));
        self.spawn(|stop| intake.run(stop));
        let api = api::router(ApiState {
            directory: Arc::clone(&wired.directory),
            store: Arc::clone(&wired.store),
            broker: Arc::clone(&wired.broker),
            shared_state: Arc::clone(&wired.shared_state),
            sender: Arc::clone(&wired.sender),
            public_url: wired.settings.public_url.clone(),
            egress_addresses: wired.settings.egress_addresses.clone(),
            also_documented: ingest::openapi(),
        });
        let ingest = ingest::router(IngestState {
            acceptor,
            directory: Arc::clone(&wired.directory),
            public_url: wired.settings.public_url.clone(),
        });
        api.merge(ingest)
    }

    fn dispatch(&mut self, wired: &Wired) {
        let dispatcher = Dispatcher::new(Parts {
            store: Arc::clone(&wired.store),
            store_watch: Arc::clone(&wired.store_watch),
            broker: Arc::clone(&wired.broker),
            shared_state: Arc::clone(&wired.shared_state),
            directory: Arc::clone(&wired.directory),
            sender: Arc::clone(&wired.sender),
            metrics: wired.metrics.clone(),
            traces: wired.traces.clone(),
            record_linger: record_linger(&wired.settings),
        });
        let releaser = Releaser::new(Arc::clone(&dispatcher));
        let sweeper = Sweeper::new(Arc::clone(&dispatcher));
        let grace = wired.settings.grace;
        self.spawn(|stop| dispatcher.run(stop, grace));
        self.spawn(|stop| releaser.run(stop));
        self.spawn(|stop| sweeper.run(stop));
        let wired = wired.clone();
        self.spawn(|stop| async move {
            stop.run_until_cancelled(certificates::watch(&wired)).await;
        });
    }

    fn look_around(&mut self, wired: &Wired) -> anyhow::Result<()> {
        let settings = &wired.settings;
        let host = broker::virtual_host(settings.broker_url.expose_secret())?;
        let management = match (&settings.management_url, host) {
            (Some(url), Some(host)) => Some(Management::new(url.expose_secret(), &host)?),
            (Some(_), None) | (None, _) => None,
        };
        let parts = exporter::Parts {
            store: Arc::clone(&wired.store),
            broker: Arc::clone(&wired.broker),
            shared_state: Arc::clone(&wired.shared_state),
            directory: Arc::clone(&wired.directory),
            management,
        };
        let exporter = Exporter::new(parts, &wired.metrics);
        self.spawn(|stop| exporter.run(stop));
        Ok(())
    }

    /// Serves `router` beside health and metrics; answers the address it listens on.
    async fn http(
        &mut self,
        wired: &Wired,
        router: Router,
        needs: Needs,
    ) -> anyhow::Result<std::net::SocketAddr> {
        let listen = wired.settings.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listening on {listen} (http.listen)"))?;
        let address = listener.local_addr()?;
        let listener = listener.tap_io(|connection| {
            let _connection_gone = connection.set_nodelay(true);
        });
        let router = web::rim(router.merge(health::router(wired.clone(), needs)));
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await?;
            Ok(())
        });
        tracing::info!(%address, "listening");
        Ok(address)
    }

    /// Waits for a signal, or for a task that fails; then drains within the grace time.
    async fn until_stopped(mut self, wired: Wired) -> anyhow::Result<()> {
        let mut result = Ok(());
        tokio::select! {
            signal = stop_signal() => tracing::info!(signal = signal?, "stopping"),
            Some(ended) = self.tasks.join_next() => {
                result = ended.context("a task panicked").and_then(|ended| ended);
                if result.is_ok() {
                    result = Err(anyhow::anyhow!("a task ended early"));
                }
            }
        }
        self.stop.cancel();
        let ends = Instant::now() + wired.settings.grace;
        let drained = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended.context("a task panicked").and_then(|ended| ended) {
                    tracing::error!(error = format!("{error:#}"), "while stopping");
                }
            }
        };
        if tokio::time::timeout_at(ends, drained).await.is_err() {
            tracing::warn!("stopped before everything was drained; what is left comes again");
        }
        wired.broker.close().await;
        let left = ends.saturating_duration_since(Instant::now());
        let traces = wired.traces;
        tokio::task::spawn_blocking(move || traces.shutdown(left)).await?;
        tracing::info!("stopped");
        result
    }
}

/// PostgreSQL gains by larger groups, and Redis remembers what a killed process did not record. In
/// embedded mode neither is so.
fn record_linger(settings: &Settings) -> Duration {
    let embedded = settings.embedded_store_path().is_some();
    Duration::from_millis(if embedded { 1 } else { 10 })
}

/// Waits until somebody asks this process to end; answers how.
pub(crate) async fn stop_signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
