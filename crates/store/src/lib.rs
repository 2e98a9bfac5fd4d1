//! The truth: tenants, endpoints, events, license sequences, deliveries and attempts, in
//! PostgreSQL or SQLite behind one port.
//!
//! [`Store`] is the port, [`open`] picks the adapter by URL. [`Directory`] is the in-memory copy of
//! the small tables (tenants, keys, endpoints, registered event types) that the hot paths read.
//!
//! Statements are bulk statements: a batch of accepted events or of recorded attempts is one round
//! trip and one transaction.

mod codes;
mod directory;
mod open;
mod port;
mod rows;
mod sqlite;
mod vault;
mod watch;

pub use directory::{Directory, DirectoryError, Snapshot, TenantView};
pub use open::{OpenError, open};
pub use port::{
    Acceptance, Accepted, Balance, Cursor, DeliveryFilter, DirectoryChanges, EndpointRow,
    EndpointStats, EventFilter, HeldFate, NewDelivery, Page, PageRequest, Record, Requeue,
    SchemaState, Standing, Store, StoreError, Verdict,
};
pub use vault::{MASTER_KEY_BYTES, MasterKey, MasterKeyError};
pub use watch::StoreWatch;
