use model::{CircuitAction, Endpoint, Jitter, KeyAlgorithm, OnExhausted};

use crate::{
    cloudevents, getkeymanager, github, keygen, keyport_docs, licvalidator, public_key, standard,
    stripe, traffic, whole_secret,
};

/// What a dialect's senders do unless the endpoint says otherwise: one row of the table below.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub name: &'static str,
    /// What the dialect is, for people.
    pub title: &'static str,
    /// Seconds from the end of each failed attempt to the next.
    pub delays_s: &'static [u32],
    pub jitter: Jitter,
    pub timeout_s: u32,
    /// Answers that disable the endpoint at once.
    pub gone_statuses: &'static [u16],
    pub on_exhausted: OnExhausted,
    /// Consecutive failed attempts after which the circuit opens.
    pub open_after: u32,
    pub circuit_action: CircuitAction,
    /// The headers the dialect sets without options, in lower case.
    pub headers: &'static [&'static str],
    /// Headers it sets only with certain options.
    pub optional_headers: &'static [&'static str],
    /// How the signature is made, for people.
    pub signature: &'static str,
    /// Whether one request carries the signatures of several secrets. Where not, a rotated secret
    /// signs until its time is over.
    pub several_signatures: bool,
    /// Whether requests are verified with the secret that signed them.
    pub secret_verifies: bool,
    /// Checks a secret that another system made, to verify its requests with.
    pub check_given_secret: CheckKey,
    /// Checks a public key to verify requests with, where the dialect signs with pairs of keys.
    pub check_public_key: Option<CheckKey>,
    /// Which of the tenant's key pairs sign for an endpoint.
    pub(crate) signed_with: fn(&Endpoint) -> Vec<KeyAlgorithm>,
    /// Whether receivers may be asked before anything is sent to them (`OPTIONS`).
    pub asks_first: bool,
    /// Whether a new endpoint is sent a test at once.
    pub greets: bool,
    /// What `dialect_options` may hold besides those that every dialect takes.
    pub options: &'static [OptionDoc],
}

/// Says what is wrong with a key.
pub type CheckKey = fn(&str) -> Result<(), &'static str>;

/// One of a dialect's options.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    pub name: &'static str,
    /// What it may be, the default first.
    pub values: &'static str,
    pub meaning: &'static str,
}

pub(crate) const fn option(
    name: &'static str,
    values: &'static str,
    meaning: &'static str,
) -> OptionDoc {
    OptionDoc {
        name,
        values,
        meaning,
    }
}

/// What every dialect's `dialect_options` may hold.
pub(crate) const COMMON_OPTIONS: &[OptionDoc] = &[
    option(
        "unmapped",
        "skip, passthrough",
        "whether events that the dialect has no name for are left out or sent under their \
         canonical names",
    ),
    option(
        "user_agent",
        "absent, or a product token",
        "sent instead of Fanfare's own",
    ),
];

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;

/// What dialects do where their system says nothing.
const USUAL: Profile = Profile {
    name: "",
    title: "",
    delays_s: &[],
    jitter: Jitter::None,
    timeout_s: 10,
    gone_statuses: &[410],
    on_exhausted: OnExhausted::Fail,
    open_after: 10,
    circuit_action: CircuitAction::Hold,
    headers: &["content-type"],
    optional_headers: &[],
    signature: "",
    several_signatures: false,
    secret_verifies: true,
    check_given_secret: whole_secret::check_given,
    check_public_key: None,
    signed_with: |_| Vec::new(),
    asks_first: false,
    greets: false,
    options: &[],
};

/// Over three days, as Standard Webhooks recommends.
const THREE_DAYS: &[u32] = &[
    5,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
];

pub(crate) const BATCH_OPTION: OptionDoc = option(
    "batch",
    "absent, or {\"max_events\": 50, \"max_bytes\": 262144, \"max_wait_ms\": 500}",
    "rapid events leave together: 2 to 100 events, at most 1 MiB of data, after at most 10 s; \
     retries go alone",
);

pub(crate) const STANDARD: Profile = Profile {
    name: "standard",
    title: "Standard Webhooks 1.0.0",
    delays_s: THREE_DAYS,
    jitter: Jitter::Tenth,
    timeout_s: 15,
    headers: &[
        "content-type",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ],
    optional_headers: &["svix-id", "svix-timestamp", "svix-signature"],
    signature: "webhook-signature: v1,<base64 HMAC-SHA256 of id.timestamp.body>, one for each \
                secret, keyed with the base64-decoded part after whsec_",
    several_signatures: true,
    check_given_secret: standard::check_secret,
    check_public_key: Some(public_key::check_ed25519),
    signed_with: standard::signed_with,
    options: standard::OPTIONS,
    ..USUAL
};

pub(crate) const KEYGEN: Profile = Profile {
    name: "keygen",
    title: "Keygen",
    // 600 s and the fourth power of the retries before it.
    delays_s: &[
        600, 601, 616, 681, 856, 1225, 1896, 3001, 4696, 7161, 10_600, 15_241, 21_336, 29_161,
        39_016,
    ],
    jitter: Jitter::Steps {
        step_s: 600,
        steps_max: 9,
    },
    timeout_s: 15,
    gone_statuses: &[410, 530],
    headers: &[
        "content-type",
        "date",
        "digest",
        "keygen-date",
        "keygen-digest",
        "keygen-signature",
        "keygen-version",
    ],
    optional_headers: &["x-signature"],
    signature: "keygen-signature: keyid, algorithm, signature and headers; HTTP Signatures over \
                the request line, host, date and digest, with the tenant's key pair, whose public \
                key GET /v1/signing-keys lists; the endpoint's secret is not used",
    secret_verifies: false,
    check_public_key: Some(public_key::check),
    signed_with: keygen::signed_with,
    options: keygen::OPTIONS,
    ..USUAL
};

pub(crate) const KEYPORT: Profile = Profile {
    name: "keyport",
    title: "KeyPort",
    delays_s: &[MINUTE, 5 * MINUTE, 30 * MINUTE],
    headers: &["content-type", "x-keyport-signature"],
    signature: "x-keyport-signature: sha256=<hex HMAC-SHA256 of the body>, keyed with the whole \
                secret as text",
    ..USUAL
};

pub(crate) const KEYPORT_DOCS: Profile = Profile {
    name: "keyport-docs",
    title: "KeyPort (reference pages)",
    headers: &[
        "content-type",
        "x-keyport-event",
        "x-keyport-timestamp",
        "x-keyport-signature",
    ],
    signature: "x-keyport-signature: hmac-sha256=<hex HMAC-SHA256 of timestamp.body>, keyed with \
                the whole secret as text",
    options: keyport_docs::OPTIONS,
    ..KEYPORT
};

pub(crate) const LICVALIDATOR: Profile = Profile {
    name: "licvalidator",
    title: "License Validator",
    delays_s: &[MINUTE, 5 * MINUTE, 30 * MINUTE],
    headers: &[
        "content-type",
        "x-webhook-signature",
        "x-webhook-delivery-id",
        "x-webhook-event",
    ],
    signature: "x-webhook-signature: <hex HMAC-SHA256 of the body>, keyed with the whole secret \
                as text",
    options: licvalidator::OPTIONS,
    ..USUAL
};

pub(crate) const TRAFFIC: Profile = Profile {
    name: "traffic",
    title: "Traffic Orchestrator",
    delays_s: &[MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 24 * HOUR],
    timeout_s: 5,
    on_exhausted: OnExhausted::Disable,
    circuit_action: CircuitAction::Disable,
    headers: &["content-type", "x-signature-sha256"],
    signature: "x-signature-sha256: <hex HMAC-SHA256 of the body>, keyed with the whole secret as \
                text",
    options: traffic::OPTIONS,
    ..USUAL
};

pub(crate) const GETKEYMANAGER: Profile = Profile {
    name: "getkeymanager",
    title: "GetKeyManager",
    delays_s: &[MINUTE, 5 * MINUTE, 15 * MINUTE, 60 * MINUTE],
    headers: &["content-type", "x-webhook-signature"],
    signature: "x-webhook-signature: <hex HMAC-SHA256 of the body>, keyed with the whole secret \
                as text",
    options: getkeymanager::OPTIONS,
    ..USUAL
};

pub(crate) const STRIPE: Profile = Profile {
    name: "stripe",
    title: "Stripe's format",
    delays_s: THREE_DAYS,
    jitter: Jitter::Tenth,
    timeout_s: 15,
    headers: &["content-type", "stripe-signature"],
    signature: "stripe-signature: t=<seconds since 1970>,v1=<hex HMAC-SHA256 of t.body>, one v1 \
                for each secret, keyed with the whole secret as text",
    several_signatures: true,
    options: stripe::OPTIONS,
    ..USUAL
};

pub(crate) const GITHUB: Profile = Profile {
    name: "github",
    title: "GitHub's format",
    headers: &[
        "content-type",
        "x-github-event",
        "x-github-delivery",
        "x-github-hook-id",
        "x-hub-signature",
        "x-hub-signature-256",
    ],
    signature: "x-hub-signature-256: sha256=<hex HMAC-SHA256 of the body>, keyed with the whole \
                secret as text; x-hub-signature the same with SHA-1",
    greets: true,
    options: github::OPTIONS,
    ..USUAL
};

pub(crate) const CLOUDEVENTS: Profile = Profile {
    name: "cloudevents",
    title: "CloudEvents 1.0 over HTTP",
    delays_s: THREE_DAYS,
    jitter: Jitter::Tenth,
    timeout_s: 15,
    headers: &[
        "content-type",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ],
    optional_headers: &[
        "webhook-request-origin",
        "ce-specversion",
        "ce-id",
        "ce-source",
        "ce-type",
        "ce-time",
        "ce-subject",
        "ce-environment",
        "ce-sequence",
        "ce-product",
    ],
    signature: "as standard; CloudEvents itself has no signature",
    several_signatures: true,
    asks_first: true,
    options: cloudevents::OPTIONS,
    ..USUAL
};

pub(crate) const SLACK: Profile = Profile {
    name: "slack",
    title: "Slack, incoming webhooks",
    delays_s: THREE_DAYS,
    jitter: Jitter::Tenth,
    signature: "none: the URL is the secret",
    secret_verifies: false,
    ..USUAL
};

pub(crate) const DISCORD: Profile = Profile {
    name: "discord",
    title: "Discord, incoming webhooks",
    ..SLACK
};
