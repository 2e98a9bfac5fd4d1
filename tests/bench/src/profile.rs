//! Where a process spends its time, by `perf`, if it is installed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use crate::process::Pid;

const SAMPLES_PER_SECOND: &str = "499";
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
        Some(Self {
            recorder,
            file,
            name: name.to_owned(),
        })
    }

    /// Ends the recording; answers the hottest symbols.
    pub(crate) fn finish(mut self) -> anyhow::Result<String> {
        let pid = self.recorder.id().to_string();
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .context("no SIGINT")?;
        self.recorder.wait()?;
        let report = |children: &str| {
            let output = Command::new("perf")
                .args([
                    "report",
                    "--stdio",
                    "-q",
                    "-g",
                    "none",
                    "--percent-limit",
                    "0.7",
                ])
                .arg(children)
                .arg("-i")
                .arg(&self.file)
                .stderr(Stdio::null())
                .output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let mut text = String::new();
        for (title, children) in [
            ("itself", "--no-children"),
            ("with what it calls", "--children"),
        ] {
            writeln!(text, "{}, hottest symbols, {title}:", self.name)?;
            let report = report(children)?;
            let lines = report.lines().filter(|line| !line.trim().is_empty());
            for line in lines.take(LINES_SHOWN) {
                writeln!(text, "{}", line.trim_end())?;
            }
        }
        Ok(text)
    }
}
