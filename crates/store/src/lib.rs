//! The truth: tenants, endpoints, events, license sequences, deliveries and attempts, in
//! PostgreSQL or SQLite behind one port.
//!
//! [`Store`] is the port, [`open()`] picks the adapter by URL. [`Directory`] is the in-memory copy of
//! the small tables (tenants, keys, endpoints, registered event types) that the hot paths read.
//!
//! Statements are bulk statements: a batch of accepted events or of recorded attempts is one round
//! trip and one transaction. Nothing here decides what happens to a delivery, and nothing is cached
//! but the directory.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let folder = tempfile::tempdir().unwrap();
//! # let url = format!("sqlite://{}/fanfare.db", folder.path().display());
//! use store::{Directory, MasterKey, SchemaState};
//!
//! let store = store::open(&url).await?;
//! store.migrate().await?;
//! assert_eq!(store.schema().await?, SchemaState::Current);
//!
//! let directory = Directory::load(store, MasterKey::from_bytes([7; 32])).await?;
//! assert_eq!(directory.snapshot().tenants().count(), 0);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod codes;
mod directory;
mod observation;
mod open;
mod port;
mod postgres;
mod rows;
mod sqlite;
mod vault;
mod watch;

pub use directory::{Directory, DirectoryError, Snapshot, TenantView};
pub use observation::{Balance, Footprint, LOOK_MAX, Observation};
pub use open::{OpenError, open};
pub use port::{
    Acceptance, Accepted, Cursor, DeliveryFilter, DirectoryChanges, EndpointRow, EndpointStats,
    EventFilter, HeldFate, NewDelivery, Page, PageRequest, Record, Requeue, SchemaState,
    SigningKeyRow, SourceRow, Standing, Store, StoreError, Verdict,
};
pub use vault::{MASTER_KEY_BYTES, MasterKey, MasterKeyError};
pub use watch::StoreWatch;
