//! What processes use, from `/proc`: CPU of a process and everything it started, memory, and which
//! process listens on a port.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

use crate::report::Machine;

/// Linux shows times to user space in hundredths of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);
const ADDRESS_FIELD: usize = 1;
const STATE_FIELD: usize = 3;
const INODE_FIELD: usize = 9;
const LISTENING: &str = "0A";

pub(crate) type Pid = u32;

#[derive(Clone, Copy, Debug)]
struct Stat {
    parent: Pid,
    /// Of the process and of the children it has reaped.
    ticks: u32,
}

fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, so the fields are counted from its end.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<u32>().ok();
    let [user, system, children_user, children_system] =
        [number(11), number(12), number(13), number(14)];
    Some(Stat {
        parent: number(1)?,
        ticks: user? + system? + children_user? + children_system?,
    })
}

fn all() -> HashMap<Pid, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

fn descends(pid: Pid, root: Pid, all: &HashMap<Pid, Stat>) -> bool {
    let mut at = pid;
    while at != root {
        match all.get(&at) {
            Some(stat) if stat.parent != 0 => at = stat.parent,
            _ => return false,
        }
    }
    true
}

/// CPU time that each of these processes and what it started have used so far. Processes that
/// ended are counted as soon as their parent has reaped them.
pub(crate) fn cpu(roots: &[Pid]) -> Vec<Duration> {
    let all = all();
    let of = |root: &Pid| {
        all.iter()
            .filter(|(pid, _)| descends(**pid, *root, &all))
            .map(|(_, stat)| stat.ticks)
            .sum()
    };
    roots.iter().map(|root| TICK * of(root)).collect()
}

/// CPU time of this process alone, without what it started.
pub(crate) fn own_cpu() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text
        .rsplit_once(')')
        .map_or("", |(_, fields)| fields)
        .split_ascii_whitespace();
    TICK * fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u32>().ok())
        .sum()
}

/// The most memory a process has had resident, in bytes.
pub(crate) fn peak_memory_bytes(pid: Pid) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next());
    let kibibytes: u64 = kibibytes.context("no VmHWM")?.parse()?;
    Ok(kibibytes * 1024)
}

/// This machine, as far as it explains the figures.
pub(crate) fn machine() -> Machine {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let first_word = |text: String| {
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let processors = read("/proc/cpuinfo");
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        processor: model
            .unwrap_or_default()
            .trim_start_matches([' ', '\t', ':'])
            .to_owned(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        load_before: first_word(read("/proc/loadavg")),
    }
}

/// The process that listens on a local TCP port; of several that share the socket, the first
/// ancestor.
pub(crate) fn listener(port: u16) -> Option<Pid> {
    let inodes: Vec<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let all = all();
    let owners: Vec<_> = all
        .keys()
        .copied()
        .filter(|pid| owns_one(*pid, &inodes))
        .collect();
    owners
        .iter()
        .copied()
        .find(|pid| !owners.contains(&all[pid].parent))
}

fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let listening = |line: &&str| {
        let field = |number| line.split_ascii_whitespace().nth(number);
        field(STATE_FIELD) == Some(LISTENING)
            && field(ADDRESS_FIELD).is_some_and(|address| address.ends_with(&port))
    };
    let lines = table.lines().filter(listening);
    lines
        .filter_map(|line| line.split_ascii_whitespace().nth(INODE_FIELD))
        .map(str::to_owned)
        .collect()
}

fn owns_one(pid: Pid, sockets: &[String]) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| {
            target
                .to_str()
                .is_some_and(|target| sockets.iter().any(|s| s == target))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found() {
        let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port), Some(std::process::id()));
    }

    #[test]
    fn a_tree_counts_what_its_children_used() {
        let before = cpu(&[std::process::id()])[0];
        let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let done = std::process::Command::new("sh")
            .args(["-c", spin])
            .status()
            .unwrap();
        assert!(done.success());
        assert!(cpu(&[std::process::id()])[0] > before);
    }

    #[test]
    fn memory_is_more_than_a_page() {
        assert!(peak_memory_bytes(std::process::id()).unwrap() > 4096);
        assert!(peak_memory_bytes(Pid::MAX).is_err());
    }
}
