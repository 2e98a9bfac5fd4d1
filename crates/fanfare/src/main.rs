//! The executable: subcommands, configuration, and the wiring of every part.

mod certificates;
mod cli;
mod commands;
mod dev;
mod health;
mod roles;
mod settings;
mod terminal;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::settings::{Mistakes, Settings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a bad configuration (`EX_USAGE` of sysexits is clap's 2).
const BAD_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&format!("{error:#}"));
            match error.downcast_ref::<Mistakes>() {
                Some(_) => ExitCode::from(BAD_CONFIGURATION),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let config = cli.config.as_deref();
        match cli.command {
            Command::Serve { dev } => roles::serve(Settings::load(config)?.with_dev(dev)).await,
            Command::Ingest => roles::ingest(Settings::load(config)?.for_services()?).await,
            Command::Dispatcher => roles::dispatcher(Settings::load(config)?.for_services()?).await,
            Command::Exporter => roles::exporter(Settings::load(config)?.for_services()?).await,
            Command::Migrate => commands::migrate(&Settings::load(config)?).await,
            Command::Topology { action } => {
                commands::topology(&Settings::load(config)?, action).await
            }
            Command::Key { action } => commands::key(&Settings::load(config)?, action).await,
            Command::Health { url } => commands::health(&Settings::load(config)?, url).await,
            Command::Trigger(trigger) => commands::trigger(&Settings::load(config)?, trigger).await,
            Command::Receive(receive) => commands::receive(receive).await,
            Command::Verify(verify) => commands::verify(verify),
        }
    })
}
