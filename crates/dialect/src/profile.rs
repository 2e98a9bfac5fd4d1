use model::{CircuitAction, OnExhausted};

/// What a dialect's senders do unless the endpoint says otherwise: one row of the table below.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub name: &'static str,
    /// What the dialect is, for people.
    pub title: &'static str,
    /// Seconds from the end of each failed attempt to the next.
    pub delays_s: &'static [u32],
    /// Whether delays are lengthened at random, by at most a tenth.
    pub jitter: bool,
    pub timeout_s: u32,
    pub on_exhausted: OnExhausted,
    /// Consecutive failed attempts after which the circuit opens.
    pub open_after: u32,
    pub circuit_action: CircuitAction,
    /// The headers the dialect sets, in lower case.
    pub headers: &'static [&'static str],
    /// How the signature is made, for people.
    pub signature: &'static str,
    /// Whether one request carries the signatures of several secrets. Where not, a rotated secret
    /// signs until its time is over.
    pub several_signatures: bool,
}

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;

pub(crate) const STANDARD: Profile = Profile {
    name: "standard",
    title: "Standard Webhooks 1.0.0",
    delays_s: &[
        5,
        5 * MINUTE,
        30 * MINUTE,
        2 * HOUR,
        5 * HOUR,
        10 * HOUR,
        14 * HOUR,
        20 * HOUR,
        24 * HOUR,
    ],
    jitter: true,
    timeout_s: 15,
    on_exhausted: OnExhausted::Fail,
    open_after: 10,
    circuit_action: CircuitAction::Hold,
    headers: &[
        "content-type",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ],
    signature: "webhook-signature: v1,<base64 HMAC-SHA256 of id.timestamp.body>, one for each \
                secret, keyed with the base64-decoded part after whsec_",
    several_signatures: true,
};

pub(crate) const KEYPORT: Profile = Profile {
    name: "keyport",
    title: "KeyPort",
    delays_s: &[MINUTE, 5 * MINUTE, 30 * MINUTE],
    jitter: false,
    timeout_s: 10,
    on_exhausted: OnExhausted::Fail,
    open_after: 10,
    circuit_action: CircuitAction::Hold,
    headers: &["content-type", "x-keyport-signature"],
    signature: "x-keyport-signature: sha256=<hex HMAC-SHA256 of the body>, keyed with the whole \
                secret as text",
    several_signatures: false,
};
