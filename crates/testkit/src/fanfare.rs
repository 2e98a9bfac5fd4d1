use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{
    Client, Settings, Usage, bound_command, environment, eventually, free_port, scratch_folder,
    spawn_bound,
};

/// How long a process may take to start, or one of its errands to run.
const START_WITHIN: Duration = Duration::from_secs(30);

/// What a Fanfare process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Serve,
    Ingest,
    Dispatcher,
    Exporter,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Ingest => "ingest",
            Self::Dispatcher => "dispatcher",
            Self::Exporter => "exporter",
        }
    }
}

/// A running `fanfare`, killed with the value.
#[derive(Debug)]
pub struct Fanfare {
    role: Role,
    settings: Settings,
    port: u16,
    child: Child,
    logs: TempDir,
}

/// The executable under test: `FANFARE_BIN`, or the one beside this test.
pub fn binary() -> Result<PathBuf> {
    let path = match environment("FANFARE_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let test = std::env::current_exe()?;
            let profile = test
                .ancestors()
                .nth(2)
                .context("target/PROFILE/deps/TEST")?;
            profile.join("fanfare")
        }
    };
    ensure!(
        path.exists(),
        "{} is missing: run `cargo build -p fanfare`",
        path.display()
    );
    Ok(path)
}

impl Settings {
    /// Runs `fanfare` with these settings to its end; answers what it printed.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(binary()?);
        command
            .args(arguments)
            .envs(&self.environment)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(START_WITHIN, command.output()).await??;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "fanfare {arguments:?}: {}: {stderr}",
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Migrates the database and applies the topology, once.
    pub async fn prepare(&mut self) -> Result<()> {
        if std::mem::take(&mut self.needs_preparation) {
            self.run(&["migrate"]).await?;
            self.run(&["topology", "apply"]).await?;
        }
        Ok(())
    }
}

impl Fanfare {
    /// Prepares what the settings need, starts a process and waits until it is ready.
    pub async fn start(role: Role, mut settings: Settings) -> Result<Self> {
        settings.prepare().await?;
        let fanfare = Self::spawn(role, settings)?;
        fanfare.ready(START_WITHIN).await?;
        Ok(fanfare)
    }

    /// Starts a process that sees file systems of its own, mounted by a shell command first, and
    /// waits until it is ready.
    pub async fn start_in_mount(role: Role, settings: Settings, mount: &str) -> Result<Self> {
        let logs = scratch_folder()?;
        let port = free_port();
        let mut command = bound_command("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c"]);
        command
            .arg(format!("{mount} && exec \"$0\" \"$1\""))
            .arg(binary()?)
            .arg(role.as_str());
        let child = launch(command, &settings, port, &logs)?;
        let fanfare = Self {
            role,
            settings,
            port,
            child,
            logs,
        };
        fanfare.ready(START_WITHIN).await?;
        Ok(fanfare)
    }

    /// Starts a process and does not wait for it.
    pub fn spawn(role: Role, settings: Settings) -> Result<Self> {
        let logs = scratch_folder()?;
        let port = free_port();
        let child = launch(command_of(role)?, &settings, port, &logs)?;
        Ok(Self {
            role,
            settings,
            port,
            child,
            logs,
        })
    }

    /// Waits until `/readyz` says 200.
    pub async fn ready(&self, limit: Duration) -> Result<()> {
        let client = self.client()?;
        let what = format!("fanfare {} is ready", self.role.as_str());
        let ready = eventually(&what, limit, async || {
            let answer = client.get("/readyz").await.ok()?;
            (answer.status == 200).then_some(())
        });
        ready.await.with_context(|| self.log_tail())
    }

    /// The base of its API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// With the operator key.
    pub fn client(&self) -> Result<Client> {
        Client::operator(&self.url())
    }

    /// Makes a tenant, answers a client on its behalf.
    pub async fn tenant_client(&self, tenant: &str) -> Result<Client> {
        self.client()?.new_tenant(tenant).await
    }

    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        self.signal("TERM")
    }

    /// SIGSTOP: the process stands still.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// SIGCONT: the process goes on.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let line = format!("kill -{name} {}", self.pid());
        ensure!(
            Command::new("sh").args(["-c", &line]).status()?.success(),
            "{line}"
        );
        Ok(())
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = eventually("the process ends", limit, async || {
            self.child.try_wait().ok()?
        });
        let ended = ended.await;
        ended.with_context(|| self.log_tail())
    }

    /// Changes the settings with which it starts the next time.
    pub fn change(&mut self, change: impl FnOnce(Settings) -> Settings) {
        self.settings = change(std::mem::take(&mut self.settings));
    }

    /// Starts the process again on the same port, after it has ended; does not wait for it.
    pub fn respawn(&mut self) -> Result<()> {
        if self.is_running()? {
            bail!("fanfare {} still runs", self.role.as_str());
        }
        self.child = launch(
            command_of(self.role)?,
            &self.settings,
            self.port,
            &self.logs,
        )?;
        Ok(())
    }

    /// Starts the process again on the same port, waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.respawn()?;
        self.ready(START_WITHIN).await
    }

    /// Everything it has logged, over restarts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.logs.path().join("log")).unwrap_or_default()
    }

    /// Its metrics, as text.
    pub async fn metrics(&self) -> Result<String> {
        Ok(self.client()?.get("/metrics").await?.text())
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let tail: Vec<_> = log.lines().rev().take(20).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        format!(
            "the log of fanfare {} ends:\n{}",
            self.role.as_str(),
            tail.join("\n")
        )
    }
}

impl Drop for Fanfare {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

fn command_of(role: Role) -> Result<Command> {
    let mut command = bound_command(binary()?);
    command.arg(role.as_str());
    Ok(command)
}

fn launch(mut command: Command, settings: &Settings, port: u16, logs: &TempDir) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(logs.path().join("log"))?;
    command
        .envs(&settings.environment)
        .env("FANFARE__HTTP__LISTEN", format!("127.0.0.1:{port}"))
        .current_dir(logs.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    spawn_bound(command)
}
