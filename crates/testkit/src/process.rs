//! Programs under test, as processes: their output line by line, their end, and no orphan.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tempfile::TempDir;

use crate::wait::eventually;

/// Path of one of our programs: in the folder that `MUSTER_BIN_DIR` names, else in that of the test binary's
/// own profile, else in that of the other one.
///
/// # Errors
/// If it was not built; the error says where it was looked for.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folders = binary_folders()?;
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| anyhow!("`{name}` is in none of {folders:?}: build it, or set MUSTER_BIN_DIR"))
}

fn binary_folders() -> Result<Vec<PathBuf>> {
    let named = std::env::var_os("MUSTER_BIN_DIR").map(PathBuf::from);
    let exe = std::env::current_exe()?;
    let deps = exe.parent().context("the test binary lies in no folder")?;
    let own = if deps.ends_with("deps") { deps.parent().unwrap_or(deps) } else { deps };
    let target = own.parent().unwrap_or(own);
    let usual = [own.to_owned(), target.join("release"), target.join("debug")];
    Ok(named.into_iter().chain(usual).collect())
}

/// Which of the two outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    fn file_name(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        }
    }
}

/// A running program in a process group of its own. The whole group is killed on drop, also when
/// the test panics.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    status: Option<ExitStatus>,
    output: Arc<Output>,
    pumps: Vec<JoinHandle<()>>,
    files: TempDir,
}

impl Process {
    /// Starts the command with both outputs captured and standard input empty.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let files = tempfile::Builder::new().prefix("muster-output-").tempdir()?;
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = Pid::from_child(&child);
        let output = Arc::new(Output::default());
        let mut process = Self { name, child, pid, status: None, output, pumps: Vec::new(), files };
        process.pump()?;
        Ok(process)
    }

    fn pump(&mut self) -> Result<()> {
        let out = self.child.stdout.take().context("standard output is not captured")?;
        let err = self.child.stderr.take().context("standard error is not captured")?;
        self.pump_one(Stream::Out, out)?;
        self.pump_one(Stream::Err, err)
    }

    fn pump_one(&mut self, stream: Stream, from: impl Read + Send + 'static) -> Result<()> {
        let file = File::create(self.output_file(stream))?;
        self.output.lock().open += 1;
        let output = Arc::clone(&self.output);
        self.pumps.push(thread::spawn(move || output.pump(stream, from, file)));
        Ok(())
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds all bytes of an output so far; deleted on drop.
    #[must_use]
    pub fn output_file(&self, stream: Stream) -> PathBuf {
        self.files.path().join(stream.file_name())
    }

    /// All lines of an output so far.
    #[must_use]
    pub fn lines(&self, stream: Stream) -> Vec<String> {
        let state = self.output.lock();
        state.lines.iter().filter(|(from, _)| *from == stream).map(|(_, line)| line.clone()).collect()
    }

    /// Both outputs so far, in the order of their arrival: for the message of a failed test.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.output
            .lock()
            .lines
            .iter()
            .map(|(from, line)| format!("{}: {line}\n", from.file_name()))
            .collect()
    }

    /// The first line of either output that matches, waiting for it if it has not come yet.
    ///
    /// # Errors
    /// With all output so far, if both outputs end or the deadline passes without such a line.
    pub fn wait_for_line(&self, deadline: Duration, matches: impl Fn(&str) -> bool) -> Result<String> {
        let Some(line) = self.output.wait_for(deadline, matches) else {
            bail!("{} printed no such line; its output:\n{}", self.name, self.transcript());
        };
        Ok(line)
    }

    /// Waits for the program's end and for the rest of its output, and ends what it left behind.
    ///
    /// # Errors
    /// With all output so far, if the deadline passes first; the program then still runs.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let over = eventually("the end of the program", deadline, || self.has_ended().then_some(()));
        over.with_context(|| format!("{} goes on; its output:\n{}", self.name, self.transcript()))?;
        self.finish()
    }

    /// Whether the program has ended by itself or by a signal.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let only_look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.status.is_some() || !matches!(waitid(WaitId::Pid(self.pid), only_look), Ok(None))
    }

    /// Asks the program to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// As [`Process::wait`].
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(deadline)
    }

    /// Sends a signal to the program alone. One that has ended already is no error.
    ///
    /// # Errors
    /// If the signal may not be sent.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        Ok(kill_process(self.pid, signal)?)
    }

    /// Kills the program and all it started (SIGKILL) and waits for their end.
    ///
    /// # Errors
    /// If the program cannot be waited for.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.finish()
    }

    /// The group is killed before its leader is waited for: until then its number is no one else's.
    fn finish(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // Fails only if nobody is left to kill.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let status = self.child.wait()?;
        self.status = Some(status);
        for pump in self.pumps.drain(..) {
            pump.join().map_err(|_| anyhow!("the output of {} was not read to its end", self.name))?;
        }
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A drop has nobody to tell, and what can fail here is only the reading of output.
        let _ = self.finish();
    }
}

/// The output of a program, shared with the threads that read it.
#[derive(Debug, Default)]
struct Output {
    state: Mutex<OutputState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct OutputState {
    lines: Vec<(Stream, String)>,
    open: usize,
}

impl Output {
    /// A poisoned lock guards nothing but lines, which are as good as before.
    fn lock(&self) -> MutexGuard<'_, OutputState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pump(&self, stream: Stream, from: impl Read, mut file: File) {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while matches!(from.read_until(b'\n', &mut bytes), Ok(1..)) {
            // The file is a convenience: without room for it the lines in memory still count.
            let _ = file.write_all(&bytes);
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            self.lock().lines.push((stream, line));
            self.changed.notify_all();
            bytes.clear();
        }
        self.lock().open -= 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, deadline: Duration, matches: impl Fn(&str) -> bool) -> Option<String> {
        let until = Instant::now() + deadline;
        let mut state = self.lock();
        let mut seen = 0;
        loop {
            let fresh = state.lines.iter().skip(seen).find(|(_, line)| matches(line));
            if let Some((_, line)) = fresh {
                return Some(line.clone());
            }
            seen = state.lines.len();
            let left = until.saturating_duration_since(Instant::now());
            if state.open == 0 || left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Whether a process with this id exists; one that has ended and was not waited for counts.
#[must_use]
pub fn is_running(id: u32) -> bool {
    Path::new("/proc").join(id.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn a_line_is_found_on_either_output() {
        let process = shell("echo one; echo two >&2; exec sleep 600");
        assert_eq!(process.wait_for_line(LONG, |line| line.starts_with("tw")).unwrap(), "two");
        assert_eq!(process.wait_for_line(LONG, |line| line == "one").unwrap(), "one");
        assert_eq!(process.lines(Stream::Err), ["two"]);
        assert_eq!(std::fs::read_to_string(process.output_file(Stream::Out)).unwrap(), "one\n");
    }

    #[test]
    fn a_program_that_ends_without_the_line_fails_with_its_output() {
        let process = shell("echo the reason >&2; exit 3");
        let error = process.wait_for_line(LONG, |line| line == "ready").unwrap_err();
        assert!(error.to_string().contains("stderr: the reason"), "{error}");
    }

    #[test]
    fn a_program_is_asked_to_stop_and_its_answer_is_seen() {
        let mut process = shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        process.wait_for_line(LONG, |line| line == "ready").unwrap();
        assert_eq!(process.terminate(LONG).unwrap().code(), Some(7));
        assert_eq!(process.lines(Stream::Out), ["ready", "bye"]);
    }

    #[test]
    fn a_kill_is_a_kill() {
        let mut process = shell("exec sleep 600");
        assert_eq!(process.kill().unwrap().signal(), Some(9));
        assert!(process.has_ended());
        process.signal(Signal::TERM).unwrap();
    }

    #[test]
    fn what_a_program_started_ends_with_it() {
        let process = shell("sleep 600 & echo $!; wait");
        let grandchild: u32 = process.wait_for_line(LONG, |_| true).unwrap().parse().unwrap();
        assert!(is_running(grandchild));
        drop(process);
        eventually("the grandchild's end", LONG, || (!is_running(grandchild)).then_some(())).unwrap();
    }

    #[test]
    fn a_program_that_was_not_built_is_named() {
        let error = binary("no-such-program").unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("MUSTER_BIN_DIR"), "{error}");
    }
}
