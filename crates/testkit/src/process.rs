use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

/// The kernel's clock ticks a second, as /proc counts them; 100 on every Linux in use.
const TICKS_PER_SECOND: u64 = 100;

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// A command for [`spawn_bound`].
pub fn bound_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Spawns a command that the kernel kills when this process ends, however it ends.
///
/// The kernel watches the thread that spawned, so one thread that never ends spawns for all.
pub fn spawn_bound(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, incoming) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in incoming {
                let _nobody_waits = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    let program = format!("{:?}", command.get_args().last());
    spawner
        .send((command, reply))
        .map_err(|_| anyhow!("the spawning thread has ended"))?;
    answer
        .recv()?
        .with_context(|| format!("starting {program}"))
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub rss_bytes: u64,
    pub rss_bytes_peak: u64,
    pub cpu: Duration,
}

impl Usage {
    /// Of a running process.
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |member: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(member))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold anything; user and system time are the 12th and 13th after.
        let (_, after_name) = stat.rsplit_once(')').context("/proc/PID/stat has a name")?;
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|n| n.parse::<u64>().ok())
            .sum();
        Ok(Self {
            rss_bytes: kib("VmRSS:").context("VmRSS")? * 1024,
            rss_bytes_peak: kib("VmHWM:").context("VmHWM")? * 1024,
            cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_usage_of_a_process() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(
            usage.rss_bytes > 100_000 && usage.rss_bytes_peak >= usage.rss_bytes,
            "{usage:?}"
        );
    }

    #[test]
    fn a_bound_process_runs_what_it_was_given() {
        let mut command = bound_command("sh");
        command.args(["-c", "exit 7"]);
        assert_eq!(
            spawn_bound(command).unwrap().wait().unwrap().code(),
            Some(7)
        );
    }
}
