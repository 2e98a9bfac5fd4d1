//! Opening what the settings name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use broker::Broker;
use model::{ApiKey, KeyId, Role};
use secrecy::{ExposeSecret, SecretString};
use sender::{Sender, SenderConfig};
use shared_state::SharedState;
use store::{Directory, DirectoryError, MasterKey, SchemaState, Store, StoreError, StoreWatch};
use telemetry::{Metrics, Traces};

use crate::settings::Settings;

/// How often a dependency that is away at the start is tried.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The parts that every role shares.
#[derive(Clone, Debug)]
pub(crate) struct Wired {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) store_watch: Arc<StoreWatch>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) shared_state: Arc<dyn SharedState>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) sender: Arc<Sender>,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Traces,
}

impl Wired {
    /// Opens everything. A store that is away is waited for; one with another schema is an error.
    pub(crate) async fn open(settings: Settings, role: &'static str) -> anyhow::Result<Self> {
        telemetry::init_logs(settings.log_format, &settings.log_filter)
            .map_err(|error| anyhow::anyhow!("log.filter: {error}"))?;
        let store = open_store(&settings).await?;
        when_there(|| check_schema(&settings, store.as_ref())).await?;
        let key = master_key(&settings)?;
        let directory = when_there(|| load(&store, &key)).await?;
        let options = broker::Options {
            connection_name: format!("fanfare {role}"),
        };
        let broker = broker::open(settings.broker_url.expose_secret(), options).await?;
        let redis_url = settings.redis_url.as_ref().map(ExposeSecret::expose_secret);
        let shared_state = shared_state::open(redis_url).await?;
        let sender = Sender::new(&SenderConfig {
            allow_private_targets: settings.allow_private_targets,
            extra_roots_pem: None,
        })?;
        let wired = Self {
            store_watch: StoreWatch::new(Arc::clone(&store)),
            store,
            broker,
            shared_state,
            directory,
            sender: Arc::new(sender),
            metrics: Metrics::new(settings.metrics_per_endpoint),
            traces: settings.otel.traces(role)?,
            settings,
        };
        wired.metrics.built(env!("CARGO_PKG_VERSION"), role);
        wired.bootstrap().await?;
        Ok(wired)
    }

    async fn bootstrap(&self) -> anyhow::Result<()> {
        let Some(key) = &self.settings.bootstrap_api_key else {
            return Ok(());
        };
        ensure_operator_key(&self.directory, key, "bootstrap").await
    }
}

/// Makes an operator key with this value, if there is none yet.
pub(crate) async fn ensure_operator_key(
    directory: &Directory,
    key: &SecretString,
    name: &str,
) -> anyhow::Result<()> {
    let hash = web::hash_key(key.expose_secret());
    if directory.snapshot().key(&hash).is_some() {
        return Ok(());
    }
    let now = ambient::now();
    let key = ApiKey {
        id: KeyId::new(now, ambient::random_id()),
        hash,
        tenant: None,
        role: Role::Operator,
        name: Some(name.to_owned()),
        created_at: now,
        expires_at: None,
    };
    Ok(directory.put_key(key).await?)
}

pub(crate) async fn open_store(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    Ok(store::open(settings.store_url.expose_secret()).await?)
}

async fn check_schema(settings: &Settings, store: &dyn Store) -> Result<(), Start> {
    match store.schema().await? {
        SchemaState::Current => Ok(()),
        // An embedded store belongs to this process alone.
        SchemaState::Older { .. } if settings.embedded_store_path().is_some() => {
            Ok(store.migrate().await?)
        }
        SchemaState::Older { found, wanted } => Err(Start::Failed(anyhow::anyhow!(
            "the database has schema {found}, this version needs {wanted}: run `fanfare migrate`"
        ))),
        SchemaState::Newer { found, wanted } => Err(Start::Failed(anyhow::anyhow!(
            "the database has schema {found}, newer than {wanted} of this version: \
             run a newer fanfare"
        ))),
    }
}

async fn load(store: &Arc<dyn Store>, key: &MasterKey) -> Result<Arc<Directory>, Start> {
    Ok(Directory::load(Arc::clone(store), key.clone()).await?)
}

/// A step of starting that did not work out.
enum Start {
    /// The store is away: wait for it.
    Away(StoreError),
    Failed(anyhow::Error),
}

impl From<StoreError> for Start {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::Away(error),
            StoreError::Conflict | StoreError::Corrupt(_) => Self::Failed(error.into()),
        }
    }
}

impl From<DirectoryError> for Start {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Store(error) => error.into(),
            error => Self::Failed(error.into()),
        }
    }
}

async fn when_there<T>(step: impl AsyncFn() -> Result<T, Start>) -> anyhow::Result<T> {
    let mut said = false;
    loop {
        match step().await {
            Ok(done) => return Ok(done),
            Err(Start::Failed(error)) => return Err(error),
            Err(Start::Away(error)) if !said => {
                said = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "waiting for the store"
                );
            }
            Err(Start::Away(_)) => {}
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

/// The key from the settings; else, for an embedded store, the one in a file beside it, made on
/// the first start. It opens what the other one has sealed, too.
pub(crate) fn master_key(settings: &Settings) -> anyhow::Result<MasterKey> {
    let key = own_master_key(settings)?;
    Ok(match &settings.other_master_key {
        Some(other) => key.opening_also(other.clone()),
        None => key,
    })
}

fn own_master_key(settings: &Settings) -> anyhow::Result<MasterKey> {
    if let Some(key) = &settings.master_key {
        return Ok(key.clone());
    }
    let Some(store) = settings.embedded_store_path() else {
        bail!("security.master_key is required");
    };
    let file = store.with_file_name("master.key");
    let fresh = || MasterKey::from_bytes(ambient::random_secret()).to_base64();
    let text = read_or_make(&file, fresh)?;
    MasterKey::from_base64(text.trim()).with_context(|| format!("in {}", file.display()))
}

/// The text of a file that only its owner may read, made on the first call.
pub(crate) fn read_or_make(
    file: &Path,
    fresh: impl Fn() -> SecretString,
) -> anyhow::Result<String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    match std::fs::read_to_string(file) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    let text = fresh();
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| {
            writeln!(file, "{}", text.expose_secret())?;
            file.sync_all()
        })
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(text.expose_secret().to_owned())
}
