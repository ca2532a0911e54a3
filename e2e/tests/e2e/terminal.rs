//! What a person at a terminal sees and is asked: the same programs behind a pseudo-terminal.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::muster::search_path;
use e2e::musterd::{Musterd, Setup};
use testkit::netns::NetworkNamespace;

/// A device hears after a second that it is to come again, so that its next try is another one.
const BRIEF: &str = "[provisioning]\npatience_s = 1\n";

/// A server at its usual address, and a terminal beside it.
struct Desk {
    server: Musterd,
}

/// How a session ended.
struct Session {
    code: i32,
    transcript: String,
}

impl Desk {
    fn open() -> Result<Desk> {
        let server = Setup::serve(BRIEF)?.within(&Arc::new(NetworkNamespace::new()?)).start()?;
        symlink(server.setup().folder(), server.setup().home().join("muster-data"))?;
        Ok(Desk { server })
    }

    /// Runs the lines in a shell at a terminal, which shows each line; `typed` is what the person types.
    fn session(&self, lines: &str, typed: &str) -> Result<Session> {
        let home = self.server.setup().home();
        fs::write(home.join("session"), format!("set -v\n{lines}"))?;
        let file = home.join("transcript");
        let mut terminal = self.server.setup().neighbour("script");
        terminal.args(["--quiet", "--return", "--echo", "never", "--command", "sh -e session"]).arg(&file);
        terminal.current_dir(home).env("PATH", search_path()?).env("TERM", "xterm").env("SHELL", "/bin/sh");
        terminal.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = terminal.spawn().context("cannot start script")?;
        running.stdin.as_mut().context("no input")?.write_all(typed.as_bytes())?;
        let ended = running.wait_with_output()?;
        let transcript = String::from_utf8_lossy(&fs::read(&file)?).replace("\r\n", "\n");
        Ok(Session { code: ended.status.code().unwrap_or(-1), transcript })
    }
}

#[test]
fn approval_in_a_terminal() -> Result<()> {
    let page = fs::read_to_string(e2e::own("../docs/guides/approvals.md"))?;
    let lines: String = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let session = Desk::open()?.session(&lines, "")?;
    let seen = &session.transcript;
    keep("approval_in_a_terminal", seen)?;
    ensure!(session.code == 0, "{seen}");
    let (before, after) = seen.split_once("approval approve").context("nobody approved")?;
    ensure!(before.contains("awaits-person") && before.contains("SN-101"), "{seen}");
    ensure!(!before.contains("credentialsValue") && !before.contains("SUCCESS"), "let in unasked: {seen}");
    ensure!(after.contains("credentialsValue") && after.contains("SUCCESS"), "{seen}");
    ensure!(after.contains("approval-given") && after.contains("provisioned"), "{seen}");
    Ok(())
}

#[test]
fn a_person_at_a_terminal_is_asked_before_a_device_leaves() -> Result<()> {
    let desk = Desk::open()?;
    let muster = desk.server.muster()?;
    muster.ok(&["profile", "create", "pumps", "--strategy", "check-pre-provisioned"])?;
    muster.ok(&["device", "add", "pump", "--profile", "pumps"])?;
    let leave = "muster --data muster-data device decommission pump\n";
    let asked = desk.session(leave, "n\n")?;
    ensure!(asked.transcript.contains("[y/N]") && asked.code == 5, "{}", asked.transcript);
    ensure!(muster.json(&["device", "show", "pump"])?["state"] == "expected");
    let dry = desk.session("muster --data muster-data device decommission pump --dry-run\n", "")?;
    ensure!(!dry.transcript.contains("[y/N]") && dry.code == 0, "{}", dry.transcript);
    ensure!(muster.json(&["device", "show", "pump"])?["state"] == "expected");
    let done = desk.session(leave, "y\n")?;
    ensure!(done.code == 0, "{}", done.transcript);
    ensure!(muster.json(&["device", "show", "pump"])?["state"] != "expected");
    Ok(())
}

/// Puts a transcript where `MUSTER_TRANSCRIPTS` says.
fn keep(name: &str, transcript: &str) -> Result<()> {
    let Some(folder) = std::env::var_os("MUSTER_TRANSCRIPTS").map(PathBuf::from) else { return Ok(()) };
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), transcript)?)
}
