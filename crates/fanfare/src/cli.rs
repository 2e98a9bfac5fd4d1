use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use dialect::Dialect;
use model::{Role, TenantId, Timestamp};

/// Delivers license events: signed, retried, recorded.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    /// Settings in TOML; environment variables (FANFARE__SECTION__KEY) go before them.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every role in one process; without settings, store and queue are files under ./data.
    Serve {
        /// For development: a demo tenant, a bundled receiver, and targets on this machine allowed.
        #[arg(long)]
        dev: bool,
    },
    /// Takes events in and serves the API; needs PostgreSQL, RabbitMQ and Redis.
    Ingest,
    /// Makes the deliveries; needs PostgreSQL, RabbitMQ and Redis.
    Dispatcher,
    /// Metrics of the whole installation; needs PostgreSQL, RabbitMQ and Redis.
    Exporter,
    /// Brings the database schema up to date.
    Migrate,
    /// Exchanges, queues and bindings on RabbitMQ.
    Topology {
        #[command(subcommand)]
        action: TopologyAction,
    },
    /// API keys.
    Key {
        #[command(subcommand)]
        action: KeyAction,
    },
    /// Asks a running process whether it is ready: exit code 0, or 1 with what is missing.
    Health {
        /// Where it listens; by default where this configuration does.
        #[arg(long)]
        url: Option<String>,
    },
    /// Publishes a sample event of a type, through the HTTP API.
    Trigger(Trigger),
    /// A receiver to try things with: verifies, deduplicates, prints.
    Receive(Receive),
    /// Says whether a captured request verifies, and why not. The body comes on standard input.
    Verify(Verify),
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum TopologyAction {
    /// Declares what is missing.
    Apply,
    /// Compares with the running broker.
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Prints a new key, once.
    Create {
        /// Whose key it is; the tenant is made if it does not exist. An operator key has none.
        #[arg(long, required_if_eq_any = [
            ("role", "publisher"), ("role", "viewer"), ("role", "editor"), ("role", "admin"),
        ])]
        tenant: Option<TenantId>,
        /// publisher, viewer, editor, admin or operator.
        #[arg(long)]
        role: Role,
        /// For people to tell keys apart.
        #[arg(long)]
        name: Option<String>,
    },
    /// Seals every secret with the present master key; the last step of replacing it.
    Reseal,
}

#[derive(Debug, Args)]
pub(crate) struct Trigger {
    /// Such as license.created; see GET /v1/event-types.
    pub(crate) event_type: String,
    /// The license it happened to.
    #[arg(long, default_value = "lic_sample")]
    pub(crate) license: String,
    /// The event's data as JSON, instead of a sample.
    #[arg(long, conflicts_with = "license")]
    pub(crate) data: Option<String>,
    #[arg(long, default_value = "demo")]
    pub(crate) tenant: String,
    /// Where the API is; by default where this configuration listens.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// An API key; by default the bootstrap key, or the one that `serve --dev` printed.
    #[arg(long)]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Receive {
    /// The wire format: see GET /v1/dialects.
    #[arg(long, value_parser = dialect)]
    pub(crate) dialect: Dialect,
    /// The endpoint's secret, as shown when it was created.
    #[arg(long, env = SECRET, hide_env_values = true)]
    pub(crate) secret: String,
    #[arg(long, default_value_t = 9000)]
    pub(crate) port: u16,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The wire format: see GET /v1/dialects.
    #[arg(long, value_parser = dialect)]
    pub(crate) dialect: Dialect,
    /// The endpoint's secret, as shown when it was created.
    #[arg(long, env = SECRET, hide_env_values = true)]
    pub(crate) secret: String,
    /// Path and query of the request: only `keygen` signs them.
    #[arg(long, default_value = "/")]
    pub(crate) target: String,
    /// A header of the request, `Name: value`; repeat for each.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// When it came, such as 2026-04-15T12:00:00Z; by default now.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
}

/// Holds a secret that is not to be seen among the arguments of a process.
const SECRET: &str = "FANFARE_SECRET";

fn dialect(name: &str) -> Result<Dialect, String> {
    Dialect::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Dialect::ALL.iter().map(|dialect| dialect.name()).collect();
        format!("there are: {}", names.join(", "))
    })
}

fn header(given: &str) -> Result<(String, String), &'static str> {
    let (name, value) = given.split_once(':').ok_or("must be 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_dialect_a_header_or_a_time_is_bad_usage() {
        let exit_code = |given: &[&str]| {
            let always = ["fanfare", "verify", "--secret", "s"];
            let parsed = Cli::try_parse_from(always.iter().chain(given));
            parsed.map_or_else(|error| error.exit_code(), |_| 0)
        };
        let header = "webhook-id: a:b";
        for (given, code) in [
            (["--dialect", "standard", "--header", header], 0),
            (["--dialect", "morse", "--header", header], 2),
            (["--dialect", "standard", "--header", "webhook-id"], 2),
            (["--dialect", "standard", "--at", "yesterday"], 2),
            (["--dialect", "standard", "--at", "2026-04-15T12:00:00Z"], 0),
        ] {
            assert_eq!(exit_code(&given), code, "{given:?}");
        }
    }
}
