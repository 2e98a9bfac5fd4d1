//! Settings: a TOML file under environment variables, every mistake found at once.

mod otel;
mod urls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use config::{Config, Environment, File, Map, Value, ValueKind};
use secrecy::{ExposeSecret, SecretString};
use store::MasterKey;
use telemetry::LogFormat;

use self::otel::Otel;

/// Everything that can be set. Defaults are those of `fanfare serve` without any configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `http.listen`, default `127.0.0.1:8080`: API, `/healthz`, `/readyz`, `/metrics`.
    pub(crate) listen: SocketAddr,
    /// `http.public_url`: where the API is reached from outside.
    pub(crate) public_url: Option<String>,
    /// `store.url`, default `sqlite://./data/fanfare.db`; or `postgres://…`.
    pub(crate) store_url: SecretString,
    /// `broker.url`, default `embedded://./data`; or `amqp://…`, `amqps://…`.
    pub(crate) broker_url: SecretString,
    /// `broker.management_url`, `http://user:password@host:15672`: lets the exporter ask RabbitMQ
    /// for what AMQP does not tell.
    pub(crate) management_url: Option<SecretString>,
    /// `redis.url`; none keeps shared state in the process.
    pub(crate) redis_url: Option<SecretString>,
    /// `security.master_key`, 32 bytes in base64: seals endpoint secrets. Without one, embedded
    /// mode makes its own.
    pub(crate) master_key: Option<MasterKey>,
    /// `security.other_master_key`: opens what it has sealed, too, while one replaces the other.
    pub(crate) other_master_key: Option<MasterKey>,
    /// `security.allow_private_targets`, default false: endpoints may be `http://` and on private
    /// addresses. For development.
    pub(crate) allow_private_targets: bool,
    /// `bootstrap.api_key`: an operator key with this value exists after start.
    pub(crate) bootstrap_api_key: Option<SecretString>,
    /// `delivery.egress_addresses`, comma-separated: published for allow-lists.
    pub(crate) egress_addresses: Vec<String>,
    /// `delivery.grace_s`, default 25: how long a stopping process may finish its attempts.
    pub(crate) grace: Duration,
    /// `log.format`, `text` (default) or `json`.
    pub(crate) log_format: LogFormat,
    /// `log.filter`: what is logged, as `level` or `target=level,…`; see [`LOG_FILTER`].
    pub(crate) log_filter: String,
    /// `metrics.per_endpoint`, default false: each endpoint has series of its own at `/metrics`.
    pub(crate) metrics_per_endpoint: bool,
    pub(crate) otel: Otel,
    /// `serve --dev`.
    pub(crate) dev: bool,
}

/// A configuration that cannot be used: every mistake, each with what to do.
#[derive(Debug)]
pub(crate) struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} mistake(s):", self.0.len())?;
        for mistake in &self.0 {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl Settings {
    /// Reads `file`, if there is one, and the environment, which goes before it.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Mistakes> {
        let environment = Environment::with_prefix("FANFARE")
            .prefix_separator("__")
            .separator("__");
        let mut sources = Config::builder();
        if let Some(file) = file {
            sources = sources.add_source(File::from(file));
        }
        let values = sources
            .add_source(environment)
            .build()
            .and_then(Config::try_deserialize::<Map<String, Value>>)
            .map_err(|error| Mistakes(vec![error.to_string()]))?;
        Self::read(values)
    }

    fn read(values: Map<String, Value>) -> Result<Self, Mistakes> {
        let mut given = Given::default();
        given.flatten("", values);
        let settings = Self {
            listen: given.or("http.listen", "127.0.0.1:8080"),
            public_url: given.optional_with("http.public_url", urls::public),
            store_url: given
                .optional_with("store.url", urls::store)
                .unwrap_or_else(|| "sqlite://./data/fanfare.db".into()),
            broker_url: given
                .optional_with("broker.url", urls::broker)
                .unwrap_or_else(|| "embedded://./data".into()),
            management_url: given.optional_with("broker.management_url", urls::management),
            redis_url: given.optional_with("redis.url", urls::redis),
            master_key: given.optional_with("security.master_key", MasterKey::from_base64),
            other_master_key: given
                .optional_with("security.other_master_key", MasterKey::from_base64),
            allow_private_targets: given.or("security.allow_private_targets", "false"),
            bootstrap_api_key: given
                .optional::<String>("bootstrap.api_key")
                .map(Into::into),
            egress_addresses: given
                .optional::<String>("delivery.egress_addresses")
                .map(|list| {
                    list.split(',')
                        .map(|address| address.trim().to_owned())
                        .collect()
                })
                .unwrap_or_default(),
            grace: Duration::from_secs(given.or("delivery.grace_s", "25")),
            log_format: given.or::<Format>("log.format", "text").0,
            log_filter: given.or("log.filter", LOG_FILTER),
            metrics_per_endpoint: given.or("metrics.per_endpoint", "false"),
            otel: Otel::read(&mut given),
            dev: false,
        };
        let mistakes = given.finish(&settings);
        if mistakes.is_empty() {
            Ok(settings)
        } else {
            Err(Mistakes(mistakes))
        }
    }

    pub(crate) fn with_dev(self, dev: bool) -> Self {
        let allow_private_targets = self.allow_private_targets || dev;
        Self {
            dev,
            allow_private_targets,
            ..self
        }
    }

    /// For the roles that run as processes of their own.
    pub(crate) fn for_services(self) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        if !self.store_url.expose_secret().starts_with("postgres") {
            mistakes.push("store.url: this role needs postgres://…".to_owned());
        }
        if self.is_embedded_broker() {
            mistakes.push("broker.url: this role needs amqp://… or amqps://…".to_owned());
        }
        if self.redis_url.is_none() {
            mistakes.push("redis.url: this role needs redis://… or rediss://…".to_owned());
        }
        if self.master_key.is_none() {
            mistakes.push(format!("security.master_key: {MASTER_KEY_HELP}"));
        }
        if mistakes.is_empty() {
            Ok(self)
        } else {
            Err(Mistakes(mistakes))
        }
    }

    pub(crate) fn is_embedded_broker(&self) -> bool {
        self.broker_url.expose_secret().starts_with("embedded://")
    }

    /// The file of an embedded store.
    pub(crate) fn embedded_store_path(&self) -> Option<&Path> {
        self.store_url
            .expose_secret()
            .strip_prefix("sqlite://")
            .map(Path::new)
    }
}

/// Lost connections are reported by the broker's own supervisor, once, not by lapin each time.
const LOG_FILTER: &str = "info,lapin=off,rustls_platform_verifier=off";

const MASTER_KEY_HELP: &str =
    "is required: 32 random bytes in base64, as `openssl rand -base64 32` prints them";

/// `log.format` as it is written.
struct Format(LogFormat);

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self(LogFormat::Text)),
            "json" => Ok(Self(LogFormat::Json)),
            _ => Err("must be text or json"),
        }
    }
}

/// The values that were given and not read yet, by dotted key, and the mistakes so far.
#[derive(Default)]
struct Given {
    values: BTreeMap<String, String>,
    mistakes: Vec<String>,
}

impl Given {
    fn flatten(&mut self, prefix: &str, values: Map<String, Value>) {
        for (name, value) in values {
            let key = format!("{prefix}{name}");
            match value.kind {
                ValueKind::Table(table) => self.flatten(&format!("{key}."), table),
                ValueKind::Array(items) => {
                    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
                    self.values.insert(key, items.join(","));
                }
                _ => {
                    self.values.insert(key, value.to_string());
                }
            }
        }
    }

    fn optional<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Option<T> {
        self.optional_with(key, T::from_str)
    }

    fn optional_with<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.values.remove(key)?;
        parse(&text)
            .map_err(|error| self.mistakes.push(format!("{key}: {error}")))
            .ok()
    }

    /// The value, or the default where there is none or it is a mistake.
    fn or<T: FromStr<Err: fmt::Display>>(&mut self, key: &str, default: &str) -> T {
        let default = || T::from_str(default).ok().expect("defaults are valid");
        self.optional(key).unwrap_or_else(default)
    }

    fn finish(mut self, settings: &Settings) -> Vec<String> {
        for ignored in ["smtp.url", "smtp.from"] {
            self.values.remove(ignored);
        }
        for key in self.values.keys() {
            self.mistakes
                .push(format!("{key}: there is no such setting"));
        }
        let embedded_store = settings.embedded_store_path().is_some();
        let redis_refused = self
            .mistakes
            .iter()
            .any(|mistake| mistake.starts_with("redis.url"));
        if !settings.is_embedded_broker() && settings.redis_url.is_none() && !redis_refused {
            let help = "is required beside a broker: redis://… or rediss://…";
            self.mistakes.push(format!("redis.url: {help}"));
        }
        let refused = self
            .mistakes
            .iter()
            .any(|mistake| mistake.starts_with("security.master_key"));
        if !embedded_store && settings.master_key.is_none() && !refused {
            self.mistakes
                .push(format!("security.master_key: {MASTER_KEY_HELP}"));
        }
        self.mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Settings, Mistakes> {
        let file = File::from_str(toml, config::FileFormat::Toml);
        let config = Config::builder().add_source(file).build().unwrap();
        Settings::read(config.try_deserialize().unwrap())
    }

    #[test]
    fn nothing_set_is_embedded_mode_on_loopback() {
        let settings = read("").unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(
            settings.embedded_store_path(),
            Some(Path::new("./data/fanfare.db"))
        );
        assert!(settings.is_embedded_broker());
        assert!(!settings.allow_private_targets);
    }

    #[test]
    fn every_mistake_is_listed_at_once() {
        let toml = r#"
            [http]
            listen = "here"
            [store]
            url = "postgres://h/db"
            [broker]
            url = "amqp://h"
            [security]
            master_key = "c2hvcnQ="
            allow_private_targets = "perhaps"
            [colour]
            scheme = "dark"
        "#;
        let mistakes = read(toml).unwrap_err().to_string();
        for key in [
            "http.listen",
            "redis.url",
            "security.master_key",
            "security.allow_private_targets",
            "colour.scheme: there is no such setting",
        ] {
            assert!(mistakes.contains(key), "{key} is not in: {mistakes}");
        }
    }

    fn mistake(key: &str, url: &str) -> Option<String> {
        let (section, name) = key.split_once('.').unwrap();
        let services = [
            ("store", "postgres://h/d"),
            ("broker", "amqp://h"),
            ("redis", "redis://h"),
        ];
        let mut toml = format!(
            "[security]\nmaster_key = \"{}=\"\n[{section}]\n{name} = \"{url}\"\n",
            "A".repeat(43)
        );
        for (other, url) in services.iter().filter(|(other, _)| *other != section) {
            toml.push_str(&format!("[{other}]\nurl = \"{url}\"\n"));
        }
        read(&toml).err().map(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_url_of_an_unknown_kind_or_form_is_a_mistake_and_its_password_stays_hidden() {
        for (key, url, expected) in [
            (
                "store.url",
                "mysql://u:hunter2@h/d",
                "must start with postgres:// or sqlite://",
            ),
            (
                "store.url",
                "fanfare.db",
                "must start with postgres:// or sqlite://",
            ),
            ("store.url", "postgres://u:hunter2@h:port/d", "is not a URL"),
            ("store.url", "sqlite://", "must name a file"),
            ("store.url", "sqlite://f.db?mode=ro", "must name a file"),
            ("broker.url", "kafka://u:hunter2@h", "expected amqp://"),
            ("broker.url", "amqp://u:hunter2@h:port", "expected amqp://"),
            ("broker.url", "embedded://", "expected amqp://"),
            (
                "redis.url",
                "memcached://u:hunter2@h",
                "must start with redis:// or rediss://",
            ),
            ("redis.url", "redis://u:hunter2@h:port", "is not a URL"),
            ("redis.url", "redis://", "is not a URL"),
            (
                "broker.management_url",
                "amqp://u:hunter2@h",
                "expected http://",
            ),
        ] {
            let listed = mistake(key, url).unwrap_or_else(|| panic!("{url} was taken"));
            assert!(listed.contains("1 mistake(s)"), "{listed}");
            assert!(
                listed.contains(key) && listed.contains(expected),
                "{url}: {listed}"
            );
            assert!(!listed.contains("hunter2"), "{listed}");
        }
        for (key, url) in [
            ("store.url", "postgres://u:p%40@h:5432/d?sslmode=require"),
            ("store.url", "postgresql:///d?host=/run/postgresql"),
            ("store.url", "sqlite:///var/lib/fanfare.db"),
            ("broker.url", "amqps://u:p@h1,h2:5671/v"),
            ("redis.url", "rediss://:p@h:6380/1"),
        ] {
            assert_eq!(mistake(key, url), None, "{url}");
        }
    }

    #[test]
    fn services_need_their_services() {
        let mistakes = read("").unwrap().for_services().unwrap_err().to_string();
        assert!(mistakes.contains("4 mistake(s)"), "{mistakes}");
    }
}
