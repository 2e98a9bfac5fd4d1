//! Where a process spends its time, by `perf`, if it is installed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::process::Pid;

const SAMPLES_PER_SECOND: &str = "499";
/// After that it is taken to record, or to have failed, which shows in the report.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
const LINES_SHOWN: usize = 40;

/// A recording under way.
#[derive(Debug)]
pub(crate) struct Profile {
    recorder: Child,
    file: PathBuf,
    name: String,
}

impl Profile {
    /// Begins to record; `None` where there is no `perf`.
    pub(crate) fn start(name: &str, pid: Pid, directory: &Path) -> Option<Self> {
        let file = directory.join(format!("{name}.perf"));
        let recorder = Command::new("perf")
            .args([
                "record",
                "-q",
                "-g",
                "-e",
                "cpu-clock",
                "-F",
                SAMPLES_PER_SECOND,
                "-p",
            ])
            .arg(pid.to_string())
            .arg("-o")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let begun = Instant::now();
        let records = || fs::metadata(&file).is_ok_and(|file| file.len() > 0);
        while !records() && begun.elapsed() < BEGINS_WITHIN {
            std::thread::sleep(POLL);
        }
        Some(Self {
            recorder,
            file,
            name: name.to_owned(),
        })
    }

    /// Ends the recording; answers the hottest symbols: themselves, and with what they call.
    pub(crate) fn finish(mut self) -> anyhow::Result<String> {
        let pid = self.recorder.id().to_string();
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .context("no SIGINT")?;
        self.recorder.wait()?;
        let mut text = String::new();
        writeln!(text, "{}, hottest symbols, themselves:", self.name)?;
        self.report(&["--no-children"], |_| true, &mut text)?;
        writeln!(
            text,
            "{}, hottest symbols of its own code, with what they call:",
            self.name
        )?;
        let own = |line: &str| !line.contains("[k]") && !line.contains("[unknown]");
        self.report(&["--children"], own, &mut text)?;
        Ok(text)
    }

    fn report(
        &self,
        arguments: &[&str],
        shows: impl Fn(&str) -> bool,
        text: &mut String,
    ) -> anyhow::Result<()> {
        let output = Command::new("perf")
            .args([
                "report",
                "--stdio",
                "-q",
                "-g",
                "none",
                "--percent-limit",
                "0.5",
            ])
            .args(arguments)
            .arg("-i")
            .arg(&self.file)
            .stderr(Stdio::null())
            .output()?;
        let output = String::from_utf8_lossy(&output.stdout);
        let lines = output
            .lines()
            .filter(|line| !line.trim().is_empty() && shows(line));
        for line in lines.take(LINES_SHOWN) {
            writeln!(text, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
