//! Batches as the scripts' arguments. What many items have in common is passed once and named by
//! one byte, as the arguments are a good part of what a call costs on both sides.

use std::fmt::Write;
use std::time::Duration;

use delivery::RATE_PER_MINUTE_MAX;
use model::{DeliveryId, EndpointId, Timestamp};
use redis::Cmd;

use super::scripts::Script;
use super::{CHUNK_MAX, CIRCUIT_PREFIX};
use crate::{ClaimRequest, Settled, Settlement};

const ATTEMPT_PREFIX: &str = "fanfare:attempt:";

/// About what an attempt's key takes.
const KEY_BYTES: usize = 64;

/// Distinct values in the order of their first appearance, with the place of each item's value.
struct Distinct<T> {
    values: Vec<T>,
    latest: usize,
}

impl<T: PartialEq> Distinct<T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            latest: 0,
        }
    }

    /// A linear search, but neighbours are often alike and a chunk is short.
    fn place(&mut self, value: T) -> usize {
        if self.values.get(self.latest) != Some(&value) {
            self.latest = self
                .values
                .iter()
                .position(|known| *known == value)
                .unwrap_or_else(|| {
                    self.values.push(value);
                    self.values.len() - 1
                });
        }
        self.latest
    }
}

/// The call of `claim.lua` for at most [`CHUNK_MAX`] items.
pub(super) fn claim(script: &Script, chunk: &[ClaimRequest], now: Timestamp) -> Cmd {
    let mut endpoints = Distinct::new();
    let mut groups = Distinct::new();
    let group_of: Vec<u8> = chunk
        .iter()
        .map(|request| {
            let endpoint = endpoints.place(request.endpoint);
            byte(groups.place((endpoint, request.lease, request.rate_per_minute)))
        })
        .collect();
    let keys = endpoints.values.len() + chunk.len();
    let mut command = script.command(keys, keys + 3 + 3 * groups.values.len());
    circuit_keys(&mut command, &endpoints.values);
    attempt_keys(
        &mut command,
        chunk
            .iter()
            .map(|request| (request.delivery, request.attempt)),
    );
    command
        .arg(now.as_millis())
        .arg(endpoints.values.len())
        .arg(group_of.as_slice());
    for (endpoint, lease, rate) in groups.values {
        let rate = rate.map_or(0, |rate| rate.clamp(1, RATE_PER_MINUTE_MAX));
        command.arg(endpoint + 1).arg(positive_ms(lease)).arg(rate);
    }
    command
}

/// The call of `settle.lua` for at most [`CHUNK_MAX`] items. Only the endpoints of those items are
/// in it whose circuit may change.
pub(super) fn settle(script: &Script, chunk: &[Settlement], now: Timestamp) -> Cmd {
    let mut endpoints = Distinct::new();
    let mut groups = Distinct::new();
    let mut group_of = Vec::with_capacity(chunk.len());
    let mut endings = Vec::with_capacity(chunk.len());
    for settlement in chunk {
        let ending = ending(settlement);
        endings.push(ending);
        group_of.push(if ending == b's' {
            0
        } else {
            let endpoint = endpoints.place(settlement.endpoint);
            byte(groups.place((endpoint, settlement.policy.open_after)))
        });
    }
    let keys = endpoints.values.len() + chunk.len();
    let mut command = script.command(keys, keys + 4 + 2 * groups.values.len());
    circuit_keys(&mut command, &endpoints.values);
    attempt_keys(
        &mut command,
        chunk.iter().map(|item| (item.delivery, item.attempt)),
    );
    command.arg(now.as_millis()).arg(endpoints.values.len());
    command.arg(endings.as_slice()).arg(group_of.as_slice());
    for (endpoint, open_after) in groups.values {
        command.arg(endpoint + 1).arg(open_after);
    }
    command
}

/// A duration in the whole milliseconds that Redis counts in; it refuses zero.
pub(super) fn positive_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

fn ending(settlement: &Settlement) -> u8 {
    match settlement.settled {
        Settled::Succeeded if settlement.troubled => b't',
        Settled::Succeeded => b's',
        Settled::Failed => b'f',
        Settled::Uncounted => b'u',
        Settled::Released => b'r',
    }
}

fn circuit_keys(command: &mut Cmd, endpoints: &[EndpointId]) {
    let mut key = String::with_capacity(KEY_BYTES);
    for endpoint in endpoints {
        key.clear();
        write!(key, "{CIRCUIT_PREFIX}{endpoint}").expect("writing to a string works");
        command.arg(key.as_str());
    }
}

fn attempt_keys(command: &mut Cmd, attempts: impl Iterator<Item = (DeliveryId, u32)>) {
    let mut key = String::with_capacity(KEY_BYTES);
    for (delivery, attempt) in attempts {
        key.clear();
        write!(key, "{ATTEMPT_PREFIX}{delivery}:{attempt}").expect("writing to a string works");
        command.arg(key.as_str());
    }
}

fn byte(place: usize) -> u8 {
    const { assert!(CHUNK_MAX <= 256) };
    u8::try_from(place).expect("no more groups than items in a chunk")
}
