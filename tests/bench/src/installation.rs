//! Fanfare as it is measured: the real binary, fresh for each row, embedded or as the three roles
//! of a large installation.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use crate::admin::{self, Admin};
use crate::process::Pid;
use crate::services::Corner;

const OPERATOR_KEY: &str = "bench-operator-key-5b9d2c71e0f84a36";
/// 32 bytes of zeros: what it encrypts lives as long as the row.
const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
const LOG_LINES_SHOWN: usize = 20;

/// The two columns of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Services,
    Embedded,
}

impl Mode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Embedded => "embedded",
        }
    }
}

/// A role: a subcommand of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Serve,
    Ingest,
    Dispatcher,
    Exporter,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Ingest => "ingest",
            Self::Dispatcher => "dispatcher",
            Self::Exporter => "exporter",
        }
    }
}

#[derive(Debug)]
struct Running {
    role: Role,
    child: Child,
    address: SocketAddr,
}

/// A running installation; dropping it kills its processes.
#[derive(Debug)]
pub(crate) struct Installation {
    binary: PathBuf,
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
    running: Vec<Running>,
    api: SocketAddr,
}

impl Installation {
    /// Starts a new installation that keeps its files in `directory`; `corner` is its part of the
    /// services, or `None` for an embedded one.
    pub(crate) fn start(
        binary: &Path,
        directory: &Path,
        corner: Option<&Corner>,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut environment = vec![
            ("FANFARE__SECURITY__MASTER_KEY", MASTER_KEY.to_owned()),
            (
                "FANFARE__SECURITY__ALLOW_PRIVATE_TARGETS",
                "true".to_owned(),
            ),
            ("FANFARE__BOOTSTRAP__API_KEY", OPERATOR_KEY.to_owned()),
        ];
        let (store, broker) = match corner {
            Some(corner) => {
                environment.push(("FANFARE__REDIS__URL", corner.redis_url.to_string()));
                (corner.store_url.to_string(), corner.broker_url.to_string())
            }
            None => {
                let data = directory.display();
                (
                    format!("sqlite://{data}/fanfare.db"),
                    format!("embedded://{data}"),
                )
            }
        };
        environment.push(("FANFARE__STORE__URL", store));
        environment.push(("FANFARE__BROKER__URL", broker));
        let mut installation = Self {
            binary: binary.to_owned(),
            directory: directory.to_owned(),
            environment,
            running: Vec::new(),
            api: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        if corner.is_some() {
            installation.command(&["migrate"])?;
            installation.command(&["topology", "apply"])?;
            installation.start_role(Role::Ingest)?;
            installation.start_role(Role::Dispatcher)?;
            installation.start_role(Role::Exporter)?;
        } else {
            installation.start_role(Role::Serve)?;
        }
        installation.api = installation.running[0].address;
        Ok(installation)
    }

    pub(crate) const fn api(&self) -> SocketAddr {
        self.api
    }

    pub(crate) const fn key(&self) -> &'static str {
        OPERATOR_KEY
    }

    pub(crate) const fn admin(&self) -> Admin<'static> {
        Admin {
            api: self.api,
            key: OPERATOR_KEY,
        }
    }

    /// The roles that run, and their processes.
    pub(crate) fn processes(&self) -> Vec<(Role, Pid)> {
        self.running
            .iter()
            .map(|running| (running.role, running.child.id()))
            .collect()
    }

    /// Starts a role and waits until it is ready.
    pub(crate) fn start_role(&mut self, role: Role) -> anyhow::Result<()> {
        let address = free_address()?;
        let child = self
            .prepare(&[role.as_str()], role.as_str(), address)?
            .spawn();
        let child = child.with_context(|| format!("cannot run {}", self.binary.display()))?;
        self.running.push(Running {
            role,
            child,
            address,
        });
        let begun = Instant::now();
        while !admin::is_ready(address) {
            let running = self.running.last_mut().expect("pushed above");
            let ended = running.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > READY_WITHIN {
                let log = self.log_tail(role.as_str());
                bail!(
                    "fanfare {} did not become ready ({ended:?}):\n{log}",
                    role.as_str()
                );
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Stops a role as its supervisor would, and waits until it has gone.
    pub(crate) fn stop_role(&mut self, role: Role) -> anyhow::Result<()> {
        let at = self.running.iter().position(|running| running.role == role);
        let mut running = self.running.remove(at.context("the role does not run")?);
        let pid = running.child.id().to_string();
        ensure!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()?
                .success(),
            "no SIGTERM"
        );
        let begun = Instant::now();
        loop {
            match running.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("fanfare {} ended with {status}", role.as_str()),
                None if begun.elapsed() < STOPPED_WITHIN => std::thread::sleep(POLL),
                None => {
                    running.child.kill()?;
                    bail!(
                        "fanfare {} did not stop within {STOPPED_WITHIN:?}",
                        role.as_str()
                    );
                }
            }
        }
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let name = arguments.join("-");
        let status = self.prepare(arguments, &name, free_address()?)?.status();
        let status = status.with_context(|| format!("cannot run {}", self.binary.display()))?;
        ensure!(
            status.success(),
            "fanfare {name}: {status}\n{}",
            self.log_tail(&name)
        );
        Ok(())
    }

    fn prepare(
        &self,
        arguments: &[&str],
        name: &str,
        address: SocketAddr,
    ) -> anyhow::Result<Command> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(name))?;
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .env("FANFARE__HTTP__LISTEN", address.to_string())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    fn log_tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.log_path(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        for running in &mut self.running {
            // It may have ended by itself; there is nobody left to tell.
            let _ended = running.child.kill();
            let _reaped = running.child.wait();
        }
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
