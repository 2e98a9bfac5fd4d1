use std::sync::Arc;

use anyhow::{Context, Result};
use tempfile::TempDir;
use testkit::{Client, Fanfare, Role, Services, Settings, scratch_folder, unique};
use tokio::sync::OnceCell;

/// How Fanfare is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `fanfare serve` with its own store and queue.
    Embedded,
    /// `fanfare ingest` and `fanfare dispatcher` on RabbitMQ, PostgreSQL and Redis.
    Services,
}

/// Fanfare, running.
#[derive(Debug)]
pub struct Installation {
    pub mode: Mode,
    /// Takes events in and answers the API.
    pub ingest: Fanfare,
    /// Delivers, where that is a process of its own.
    dispatcher: Option<Fanfare>,
    /// Its own, for a test that kills them.
    services: Option<Arc<Services>>,
    /// The embedded store and queue.
    folder: TempDir,
}

impl Installation {
    /// The one that tests share which only call the API, each with its own tenant.
    pub async fn shared(mode: Mode) -> Result<&'static Self> {
        static EMBEDDED: OnceCell<Installation> = OnceCell::const_new();
        static SERVICES: OnceCell<Installation> = OnceCell::const_new();
        let cell = match mode {
            Mode::Embedded => &EMBEDDED,
            Mode::Services => &SERVICES,
        };
        cell.get_or_try_init(|| Self::start(mode)).await
    }

    /// One for a single test.
    pub async fn start(mode: Mode) -> Result<Self> {
        Self::start_with(mode, |settings| settings).await
    }

    /// One for a single test, with changed settings.
    pub async fn start_with(mode: Mode, change: impl FnOnce(Settings) -> Settings) -> Result<Self> {
        let folder = scratch_folder()?;
        let settings = match mode {
            Mode::Embedded => Settings::embedded(folder.path())?,
            Mode::Services => Settings::on_services(&Services::shared()?).await?,
        };
        Self::run(mode, change(settings), folder, None).await
    }

    /// One on services of its own, which may be killed and wiped.
    pub async fn on_private_services() -> Result<Self> {
        let services = Arc::new(Services::private().await?);
        // The default virtual host: a wiped RabbitMQ makes it again, and no other.
        let settings = Settings::on_services_at(
            &services.fresh_database().await?,
            services.amqp_url(),
            services.redis_url(),
        )?;
        Self::run(Mode::Services, settings, scratch_folder()?, Some(services)).await
    }

    async fn run(
        mode: Mode,
        mut settings: Settings,
        folder: TempDir,
        services: Option<Arc<Services>>,
    ) -> Result<Self> {
        settings.prepare().await?;
        let (ingest, dispatcher) = match mode {
            Mode::Embedded => (Fanfare::start(Role::Serve, settings).await?, None),
            Mode::Services => {
                let (ingest, dispatcher) = tokio::try_join!(
                    Fanfare::start(Role::Ingest, settings.clone()),
                    Fanfare::start(Role::Dispatcher, settings),
                )?;
                (ingest, Some(dispatcher))
            }
        };
        Ok(Self {
            mode,
            ingest,
            dispatcher,
            services,
            folder,
        })
    }

    /// The process that delivers.
    pub fn dispatcher(&self) -> &Fanfare {
        self.dispatcher.as_ref().unwrap_or(&self.ingest)
    }

    /// The process that delivers.
    pub fn dispatcher_mut(&mut self) -> &mut Fanfare {
        self.dispatcher.as_mut().unwrap_or(&mut self.ingest)
    }

    /// Every process, each once.
    pub fn processes_mut(&mut self) -> Vec<&mut Fanfare> {
        std::iter::once(&mut self.ingest)
            .chain(self.dispatcher.as_mut())
            .collect()
    }

    /// Its own services.
    pub fn services(&self) -> Result<Arc<Services>> {
        self.services
            .clone()
            .context("this installation has no services of its own")
    }

    /// Where the embedded store and queue are.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The name of its PostgreSQL database.
    pub fn database(&self) -> Result<&str> {
        let url = self
            .ingest
            .settings()
            .get("FANFARE__STORE__URL")
            .context("a store")?;
        Ok(url.rsplit_once('/').context("a database")?.1)
    }

    /// The URL of its broker.
    pub fn broker_url(&self) -> Result<&str> {
        self.ingest
            .settings()
            .get("FANFARE__BROKER__URL")
            .context("a broker")
    }

    /// The operator.
    pub fn operator(&self) -> Result<Client> {
        self.ingest.client()
    }

    /// A new tenant.
    pub async fn tenant(&self) -> Result<Client> {
        self.operator()?.new_tenant(&unique("tenant")).await
    }

    /// A new tenant, and its id.
    pub async fn named_tenant(&self) -> Result<(String, Client)> {
        let id = unique("tenant");
        Ok((id.clone(), self.operator()?.new_tenant(&id).await?))
    }

    /// What all its processes have logged.
    pub fn logs(&self) -> String {
        let dispatcher = self
            .dispatcher
            .as_ref()
            .map(Fanfare::log)
            .unwrap_or_default();
        self.ingest.log() + &dispatcher
    }
}
