//! Measures Fanfare: a generator, a receiver and the real binary on one machine, beside the floors
//! of what it is made of.
//!
//! Each row runs on an installation of its own, warmed up first. Every event carries a number, the
//! receiver notes each arrival, and a run in which one is missing or comes twice has failed. CPU is
//! that of whole process trees from `/proc`, counted until a second after the last arrival, so that
//! what Fanfare writes afterwards counts too. A floor is what the parts cost without Fanfare, from
//! the same run; for a rate it is how many deliveries would then use all cores.

mod admin;
mod event;
mod floors;
mod generator;
mod http;
mod installation;
mod ledger;
mod process;
mod profile;
mod receiver;
mod report;
mod rows;
mod services;
mod table;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tokio::runtime::Runtime;

use crate::floors::Ground;
use crate::installation::Mode;
use crate::receiver::Receiver;
use crate::report::{Report, Row};
use crate::rows::{RowName, Stage};
use crate::services::{Corner, Services};

const DEFAULT_BINARY: &str = "target/release/fanfare";

/// Measures Fanfare on this machine and prints a table; fails if a delivery is missing or repeated.
#[derive(Debug, Parser)]
struct Arguments {
    /// One mode instead of both
    #[arg(long)]
    only: Option<Mode>,
    /// These rows instead of all
    #[arg(long)]
    row: Vec<RowName>,
    /// The floors alone
    #[arg(long)]
    floors: bool,
    /// Fewer events and shorter runs: to see that it works, not to quote
    #[arg(long)]
    quick: bool,
    /// Records with perf where Fanfare spends its time
    #[arg(long)]
    profile: bool,
    /// Also writes everything as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where data is kept during the run: a real disk, since commits are synced
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(report) if report.is_sound() => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("a delivery is missing or repeated: see the faults above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What all modes share.
struct Setting<'a> {
    arguments: &'a Arguments,
    receiver: Receiver,
    runtime: Runtime,
    directory: PathBuf,
}

fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    fs::create_dir_all(&arguments.directory)?;
    let directory = tempfile::tempdir_in(fs::canonicalize(&arguments.directory)?)?;
    let setting = Setting {
        arguments,
        receiver: Receiver::start()?,
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
        directory: directory.path().to_owned(),
    };
    let mut report = Report::new(process::machine(), arguments.quick);
    for mode in Mode::value_variants() {
        if arguments.only.is_none_or(|only| only == *mode) {
            measure_mode(&setting, *mode, &mut report)?;
        }
    }
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    write!(std::io::stdout(), "{}", table::markdown(&report))?;
    if !report.is_sound() {
        eprintln!("logs are kept in {}", directory.keep().display());
    }
    Ok(report)
}

fn measure_mode(setting: &Setting<'_>, mode: Mode, report: &mut Report) -> anyhow::Result<()> {
    let services = match mode {
        Mode::Services => Some(Services::find_or_start(&setting.directory)?),
        Mode::Embedded => None,
    };
    let services = services.as_ref();
    eprintln!("{} mode: floors", mode.as_str());
    let floors = with_corner(setting, services, 0, |corner| {
        floors::measure(&Ground {
            receiver: &setting.receiver,
            runtime: &setting.runtime,
            services: services.zip(corner),
            directory: &setting.directory,
            events: if setting.arguments.quick {
                5_000
            } else {
                20_000
            },
            latency_s: if setting.arguments.quick { 2 } else { 10 },
        })
    })?;
    report.floors.push(floors.clone());
    if setting.arguments.floors {
        return Ok(());
    }
    let binary = binary()?;
    for (number, name) in (1..).zip(RowName::value_variants()) {
        let wanted = &setting.arguments.row;
        if !wanted.is_empty() && !wanted.contains(name) {
            continue;
        }
        eprintln!("{} mode: {}", mode.as_str(), name.as_str());
        let row = with_corner(setting, services, number, |corner| {
            name.measure(&Stage {
                mode,
                quick: setting.arguments.quick,
                profile: setting.arguments.profile,
                binary: &binary,
                directory: setting
                    .directory
                    .join(format!("{}-{}", mode.as_str(), name.as_str())),
                corner,
                services,
                receiver: &setting.receiver,
                runtime: &setting.runtime,
                floors: &floors,
            })
        });
        let row = row.unwrap_or_else(|error| Row::failed(mode, name.as_str(), &error));
        eprint!("{}", table::summary(&row));
        report.rows.push(row);
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "shared with the other tests of the binary"
)]
fn binary() -> anyhow::Result<PathBuf> {
    let path = std::env::var("FANFARE_BIN").unwrap_or_else(|_| DEFAULT_BINARY.to_owned());
    fs::canonicalize(&path)
        .with_context(|| format!("no binary {path}: cargo build --release -p fanfare"))
}

/// Gives `work` its corner of the services, and takes it away afterwards.
fn with_corner<T>(
    setting: &Setting<'_>,
    services: Option<&Services>,
    number: u32,
    work: impl FnOnce(Option<&Corner>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let Some(services) = services else {
        return work(None);
    };
    let corner = services.corner(number, &setting.runtime)?;
    let done = work(Some(&corner));
    services.remove(&corner, &setting.runtime)?;
    done
}
