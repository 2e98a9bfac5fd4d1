use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{Endpoint, Event, FieldError};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::names::{EventName, Names};
use crate::options::{self, Unmapped};
use crate::profile::OptionDoc;
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::{
    Batch, Delivered, Profile, cloudevents, discord, getkeymanager, github, keygen, keyport,
    keyport_docs, licvalidator, profile, slack, standard, stripe, traffic,
};

/// A wire format with its habits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Standard Webhooks 1.0.0.
    Standard,
    /// KeyPort, as its guide has it.
    KeyPort,
    /// KeyPort, as its reference pages have it.
    KeyPortDocs,
    /// License Validator.
    LicValidator,
    Keygen,
    /// Traffic Orchestrator.
    Traffic,
    GetKeyManager,
    /// As Stripe signs and shapes its events.
    Stripe,
    /// As GitHub signs and shapes its events.
    GitHub,
    /// CloudEvents 1.0 over HTTP.
    CloudEvents,
    /// Messages to people in Slack.
    Slack,
    /// Messages to people in Discord.
    Discord,
}

/// What a dialect's module provides; the habits stand in [`Profile`].
pub(crate) struct Format {
    pub(crate) names: Names,
    pub(crate) render: Render,
    /// Several events in one request, where the dialect has that; each with its name.
    pub(crate) render_batch: Option<RenderBatch>,
    /// Whether the request is from somebody who knows the key: a secret, or a public key.
    pub(crate) verify: fn(&Received<'_>, &str) -> Result<(), VerifyError>,
    /// What a genuine request delivers.
    pub(crate) identify: fn(&Received<'_>) -> Result<Verified, VerifyError>,
    /// The events of a genuine request, as canonical ones.
    pub(crate) parse: fn(&Received<'_>, &Taker<'_>) -> Result<Submissions, ParseError>,
    pub(crate) check_secret: fn(&str) -> Result<(), &'static str>,
    /// What is wrong with options, all of which are the dialect's.
    pub(crate) check_options: fn(&Map<String, Value>) -> Vec<FieldError>,
}

pub(crate) type Render = fn(&Delivered<'_>, &str) -> Result<Rendered, RenderError>;

pub(crate) type RenderBatch = fn(&[(Delivered<'_>, Cow<'_, str>)]) -> Result<Rendered, RenderError>;

impl Dialect {
    /// What an endpoint speaks that names no dialect.
    pub const DEFAULT: Self = Self::Standard;

    pub const ALL: &'static [Self] = &[
        Self::Standard,
        Self::KeyPort,
        Self::KeyPortDocs,
        Self::LicValidator,
        Self::Keygen,
        Self::Traffic,
        Self::GetKeyManager,
        Self::Stripe,
        Self::GitHub,
        Self::CloudEvents,
        Self::Slack,
        Self::Discord,
    ];

    pub(crate) const fn format(self) -> &'static Format {
        match self {
            Self::Standard => &standard::FORMAT,
            Self::KeyPort => &keyport::FORMAT,
            Self::KeyPortDocs => &keyport_docs::FORMAT,
            Self::LicValidator => &licvalidator::FORMAT,
            Self::Keygen => &keygen::FORMAT,
            Self::Traffic => &traffic::FORMAT,
            Self::GetKeyManager => &getkeymanager::FORMAT,
            Self::Stripe => &stripe::FORMAT,
            Self::GitHub => &github::FORMAT,
            Self::CloudEvents => &cloudevents::FORMAT,
            Self::Slack => &slack::FORMAT,
            Self::Discord => &discord::FORMAT,
        }
    }

    /// The habits of this dialect's senders.
    pub const fn profile(self) -> &'static Profile {
        match self {
            Self::Standard => &profile::STANDARD,
            Self::KeyPort => &profile::KEYPORT,
            Self::KeyPortDocs => &profile::KEYPORT_DOCS,
            Self::LicValidator => &profile::LICVALIDATOR,
            Self::Keygen => &profile::KEYGEN,
            Self::Traffic => &profile::TRAFFIC,
            Self::GetKeyManager => &profile::GETKEYMANAGER,
            Self::Stripe => &profile::STRIPE,
            Self::GitHub => &profile::GITHUB,
            Self::CloudEvents => &profile::CLOUDEVENTS,
            Self::Slack => &profile::SLACK,
            Self::Discord => &profile::DISCORD,
        }
    }

    /// What an endpoint's `dialect_options` may hold.
    pub fn options(self) -> impl Iterator<Item = &'static OptionDoc> {
        profile::COMMON_OPTIONS.iter().chain(self.profile().options)
    }

    pub const fn name(self) -> &'static str {
        self.profile().name
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|dialect| dialect.name() == name)
    }

    /// The dialect an endpoint speaks; `None` if this build does not know it.
    pub fn of(endpoint: &Endpoint) -> Option<Self> {
        Self::from_name(&endpoint.dialect)
    }

    /// What this endpoint's receiver calls the event; `None` where it is not told of it.
    pub fn event_name<'e>(self, endpoint: &Endpoint, event: &'e Event) -> Option<Cow<'e, str>> {
        let names = &self.format().names;
        if matches!(names, Names::Canonical) {
            return Some(Cow::Borrowed(event.event_type.as_str()));
        }
        let common = options::common(endpoint);
        let own = names.of(event, common.extras);
        own.map(Cow::Borrowed).or_else(|| match common.unmapped {
            Unmapped::Skip => None,
            Unmapped::Passthrough => Some(Cow::Borrowed(event.event_type.as_str())),
        })
    }

    /// Whether the dialect has a name of its own for the event: not just a canonical one that the
    /// option `unmapped` lets pass.
    pub fn names(self, endpoint: &Endpoint, event: &Event) -> bool {
        let names = &self.format().names;
        matches!(names, Names::Canonical)
            || names.of(event, options::common(endpoint).extras).is_some()
    }

    /// The event names that an endpoint may ask for without options; where they are the canonical
    /// ones, without those that a tenant registered.
    pub fn event_names(self) -> Vec<&'static str> {
        self.format().names.all(false)
    }

    /// What it calls which event, and when, in the order in which names are tried; empty where it
    /// uses the canonical ones.
    pub fn event_name_table(self) -> Vec<EventName> {
        self.format().names.table()
    }

    /// Whether several events can leave in one request.
    pub const fn has_batches(self) -> bool {
        self.format().render_batch.is_some()
    }

    /// Serializes the event once and signs those bytes.
    ///
    /// Every secret that signs at `now` does, where the dialect carries several signatures; else
    /// the oldest one does until its time is over, and then the next.
    pub fn render(self, delivered: &Delivered<'_>) -> Result<Rendered, RenderError> {
        let name = self
            .event_name(delivered.endpoint, delivered.event)
            .ok_or(RenderError::NotExpressible)?;
        let mut rendered = (self.format().render)(delivered, &name)?;
        name_agent(&mut rendered, delivered.endpoint);
        Ok(rendered)
    }

    /// Serializes several events of one endpoint into one request; one alone is sent as
    /// [`Self::render`] does, or as a batch of one where the endpoint's format is the batch.
    ///
    /// # Panics
    ///
    /// If the batch is empty.
    pub fn render_batch(self, batch: &[Delivered<'_>]) -> Result<Rendered, RenderError> {
        if let [alone] = batch {
            return self.render(alone);
        }
        let render = self.format().render_batch.ok_or(RenderError::NoBatches)?;
        let named: Result<Vec<_>, _> = batch
            .iter()
            .map(|delivered| {
                let name = self.event_name(delivered.endpoint, delivered.event);
                Ok((*delivered, name.ok_or(RenderError::NotExpressible)?))
            })
            .collect();
        let mut rendered = render(&named?)?;
        name_agent(&mut rendered, batch[0].endpoint);
        Ok(rendered)
    }

    /// How the endpoint wants its events batched, if it does and its dialect can.
    pub fn batch(self, endpoint: &Endpoint) -> Option<Batch> {
        self.format()
            .render_batch
            .and_then(|_| options::common(endpoint).batch)
    }

    /// Checks a received request as its receiver would, in constant time where a secret is
    /// involved. `key` is the secret, or the public key where the dialect signs with one.
    pub fn verify(
        self,
        key: &SecretString,
        received: &Received<'_>,
    ) -> Result<Verified, VerifyError> {
        let format = self.format();
        (format.verify)(received, key.expose_secret())?;
        (format.identify)(received)
    }

    /// Reads the events of a request that was verified.
    pub fn parse(
        self,
        received: &Received<'_>,
        taker: &Taker<'_>,
    ) -> Result<Submissions, ParseError> {
        (self.format().parse)(received, taker)
    }

    /// Makes a secret that every HMAC dialect takes: `whsec_` and padded base64 of 32 bytes.
    pub fn generate_secret(random: [u8; 32]) -> SecretString {
        format!("{SECRET_PREFIX}{}", BASE64.encode(random)).into()
    }

    /// Whether a secret that somebody brings along can sign in this dialect.
    pub fn check_secret(self, secret: &str) -> Result<(), FieldError> {
        (self.format().check_secret)(secret).map_err(|detail| FieldError::new("/secret", detail))
    }

    /// What is wrong with an endpoint's `dialect_options`.
    pub fn check_options(self, given: &Map<String, Value>) -> Vec<FieldError> {
        let known: Vec<_> = self.options().map(|option| option.name).collect();
        let (own, unknown): (Map<_, _>, Map<_, _>) = given
            .clone()
            .into_iter()
            .partition(|(name, _)| known.contains(&name.as_str()));
        let unknown = unknown.keys().map(|name| options::unknown(name, &known));
        unknown.chain((self.format().check_options)(&own)).collect()
    }
}

fn name_agent(rendered: &mut Rendered, endpoint: &Endpoint) {
    if let Some(agent) = options::common(endpoint).user_agent {
        rendered.headers.retain(|(name, _)| *name != "user-agent");
        rendered.headers.push(("user-agent", agent));
    }
}

pub(crate) const SECRET_PREFIX: &str = "whsec_";
