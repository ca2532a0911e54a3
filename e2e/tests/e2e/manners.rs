//! How `muster` behaves in a shell: servers by name, formats for programs, watching, completion, manual pages.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use e2e::PATIENCE;
use e2e::muster::{ended, search_path};
use e2e::musterd::Musterd;
use testkit::process::{Process, Stream, binary};

/// A person's own configuration, and a server that has two devices.
struct Desk {
    server: Musterd,
    config: PathBuf,
}

impl Desk {
    fn open() -> Result<Desk> {
        let server = Musterd::serve("")?;
        let muster = server.muster()?;
        muster.ok(&["profile", "create", "pumps", "--strategy", "check-pre-provisioned"])?;
        muster.ok(&["device", "add", "pump-1", "--profile", "pumps", "--label", "a, \"b\""])?;
        muster.ok(&["device", "add", "pump-2", "--profile", "pumps"])?;
        let config = server.setup().home().join("config");
        Ok(Desk { server, config })
    }

    /// `muster` with no server named beside what `arguments` say.
    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("muster")?);
        command.args(arguments).current_dir(self.server.setup().home());
        command.env("XDG_CONFIG_HOME", &self.config);
        for variable in ["MUSTER_DATA", "MUSTER_SERVER", "MUSTER_TOKEN_FILE", "MUSTER_CONTEXT"] {
            command.env_remove(variable);
        }
        Ok(command)
    }

    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let ended = ended(&mut self.command(arguments)?)?;
        ensure!(ended.code == 0, "{arguments:?}: {ended:?}");
        Ok(ended.out)
    }

    fn fails(&self, code: i32, arguments: &[&str]) -> Result<String> {
        let ended = ended(&mut self.command(arguments)?)?;
        ensure!(ended.code == code, "{arguments:?}: {ended:?}");
        Ok(ended.err)
    }

    fn folder(&self) -> String {
        self.server.setup().folder().display().to_string()
    }
}

#[test]
fn a_server_that_was_given_a_name_needs_no_other_word() -> Result<()> {
    let desk = Desk::open()?;
    let complaint = desk.fails(2, &["device", "list"])?;
    ensure!(complaint.contains("muster context add"), "{complaint}");
    desk.ok(&["context", "add", "here", "--data", &desk.folder()])?;
    ensure!(desk.ok(&["device", "list", "-o", "name"])? == "pump-1\npump-2\n");

    fs::write(desk.server.setup().home().join("token"), "not-a-token")?;
    let far = format!("http://{}", desk.server.address().http());
    desk.ok(&["context", "add", "far", "--server", &far, "--token-file", "token"])?;
    desk.fails(4, &["device", "list", "--context", "far"])?;
    desk.ok(&["context", "use", "far"])?;
    desk.fails(4, &["device", "list"])?;
    let listed = desk.ok(&["context", "list", "-o", "csv"])?;
    ensure!(listed.contains("far,*,"), "{listed}");

    desk.ok(&["context", "remove", "far"])?;
    desk.fails(2, &["device", "list"])?;
    desk.fails(2, &["context", "use", "far"])?;
    ensure!(desk.ok(&["device", "list", "--context", "here", "-o", "name"])? == "pump-1\npump-2\n");
    let kept = fs::read_to_string(desk.config.join("muster/contexts.json"))?;
    ensure!(!kept.contains("not-a-token"), "{kept}");
    Ok(())
}

#[test]
fn listings_can_be_read_by_spreadsheets_and_loops() -> Result<()> {
    let desk = Desk::open()?;
    desk.ok(&["context", "add", "here", "--data", &desk.folder()])?;
    let table = desk.ok(&["device", "list"])?;
    let wide = desk.ok(&["device", "list", "-o", "wide"])?;
    ensure!(!table.contains("GATEWAY") && wide.contains("GATEWAY"), "{table}{wide}");
    // A spreadsheet's reader, not ours.
    fs::write(desk.server.setup().home().join("list.csv"), desk.ok(&["device", "list", "-o", "csv"])?)?;
    let program = "import csv; rows = list(csv.DictReader(open('list.csv', newline='')));\
                   print(rows[0]['name'], rows[0]['label'], rows[1]['gateway'])";
    let read = ended(Command::new("python3").args(["-c", program]).current_dir(desk.server.setup().home()))?;
    ensure!(read.out == "pump-1 a, \"b\" no\n", "{read:?}");
    let looped = "for name in $(muster device list -o name); do muster device show $name -o json; done";
    let mut shell = Command::new("sh");
    shell.args(["-ec", looped]).env("PATH", search_path()?).env("XDG_CONFIG_HOME", &desk.config);
    let looped = ended(&mut shell)?;
    ensure!(looped.code == 0 && looped.out.matches("\"name\"").count() == 2, "{looped:?}");
    Ok(())
}

#[test]
fn watching_shows_what_has_changed_and_never_changes_anything() -> Result<()> {
    let desk = Desk::open()?;
    desk.fails(2, &["--data", &desk.folder(), "device", "delete", "pump-1", "--yes", "--watch"])?;
    let arguments = ["--data", &desk.folder(), "device", "list", "-o", "name", "--watch=1"];
    let mut watching = Process::start(&mut desk.command(&arguments)?)?;
    watching.wait_for_line(PATIENCE, |line| line == "pump-2")?;
    desk.ok(&["--data", &desk.folder(), "device", "add", "pump-3", "--profile", "pumps"])?;
    watching.wait_for_line(PATIENCE, |line| line == "pump-3")?;
    let said = watching.lines(Stream::Out).concat();
    ensure!(!said.contains('\u{1b}'), "there is no screen to clear: {said:?}");
    watching.kill()?;
    Ok(())
}

#[test]
fn shells_complete_every_noun_and_each_command_has_a_manual_page() -> Result<()> {
    let desk = Desk::open()?;
    let script = desk.ok(&["completions", "bash"])?;
    fs::write(desk.server.setup().home().join("completion"), script)?;
    // What the Tab key does.
    let tab = ". ./completion; COMP_WORDS=(muster device dec); COMP_CWORD=2; COMPREPLY=(); \
               _muster muster dec device; echo ${COMPREPLY[@]}";
    let completed = ended(Command::new("bash").args(["-c", tab]).current_dir(desk.server.setup().home()))?;
    ensure!(completed.out == "decommission\n", "{completed:?}");

    desk.ok(&["man", "pages"])?;
    let page = fs::read_to_string(desk.server.setup().home().join("pages/muster-device-decommission.1"))?;
    ensure!(page.contains(".TH") && page.contains("grace"), "{page}");
    let help = desk.ok(&["--help"])?;
    ensure!(help.contains("Exit codes:"), "{help}");
    Ok(())
}
