//! What dispatchers must agree on within microseconds: claims, circuits, rates, locks. In Redis
//! for many processes, in memory for one; losing it costs at worst a repeated attempt.

mod port;

pub use port::{
    Claim, ClaimRequest, Settled, Settlement, SharedState, SharedStateError,
};
