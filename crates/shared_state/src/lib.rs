//! What dispatchers must agree on within microseconds: claims, circuits, rates, locks. In Redis
//! for many processes, in memory for one; losing it costs at worst a repeated attempt.
//!
//! It keeps nothing that anybody would miss: the truth is in the store.
//!
//! ```
//! use std::time::Duration;
//!
//! use model::{DeliveryId, EndpointId};
//! use shared_state::{Claim, ClaimRequest};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let state = shared_state::open(None).await.unwrap();
//! let now = ambient::now();
//! let request = ClaimRequest {
//!     delivery: DeliveryId::new(now, 1),
//!     attempt: 1,
//!     endpoint: EndpointId::new(now, 2),
//!     rate_per_minute: None,
//!     lease: Duration::from_secs(40),
//! };
//! let claims = state.claim(&[request, request], now).await.unwrap();
//! assert_eq!(claims, [Claim::Granted { probe: false, troubled: false }, Claim::Busy]);
//! # });
//! ```

mod fallback;
mod in_process;
mod port;
mod redis;

use std::sync::Arc;
use std::time::Duration;

pub use self::fallback::Resilient;
pub use self::in_process::InProcess;
pub use self::port::{Claim, ClaimRequest, Settled, Settlement, SharedState, SharedStateError};
pub use self::redis::{CHUNK_MAX, OpenError, Redis};

/// For how long an attempt that was made answers [`Claim::Done`].
pub const DONE_KEPT: Duration = Duration::from_secs(120);

/// A circuit nobody has asked for in this long is forgotten: its endpoint is gone.
pub(crate) const CIRCUIT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Opens the shared state: in Redis with the state of this process to fall back on, or, without a
/// URL, in this process alone. A Redis that is away is no error: it is used once it is there.
pub async fn open(url: Option<&str>) -> Result<Arc<dyn SharedState>, OpenError> {
    let Some(url) = url else {
        return Ok(Arc::new(InProcess::default()));
    };
    let redis = Redis::open(url).await?;
    Ok(Arc::new(Resilient::new(Arc::new(redis)).await))
}
