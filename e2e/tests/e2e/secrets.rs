//! A thousand recognisable secrets go through everything the server does, and none stays where it must not.
//!
//! Looked for are provision secrets, tokens and passwords that devices chose, tokens that the server derived,
//! operators' tokens, whatever wrong secrets were offered, the admin secret and the key-encryption key; in
//! clear, in hexadecimal, in base64 and in a few forms more.

mod flows;
mod witness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use e2e::PATIENCE;
use e2e::musterd::{Musterd, Setup};
use e2e::settings::seed;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use testkit::process::{Process, Stream, binary};

use witness::Witness;

/// Everything is logged, and no wrong secret is turned away before it was looked at.
const TALKATIVE: &str = r#"
[log]
filter = "trace"
[provisioning]
unproven_per_second = 1000000
unproven_burst = 1000000
"#;

#[test]
fn a_thousand_secrets_leave_no_trace_but_where_the_protocol_says() -> Result<()> {
    let setup = Setup::serve(TALKATIVE)?;
    let server = setup.start()?;
    let mut witness = Witness::new(server.address(), seed("secrets"));
    witness.knows_the_keys(&server)?;
    flows::everything(&mut witness, &server)?;
    ensure!(witness.search().len() >= 1000, "only {} secrets", witness.search().len());
    witness.heard_nothing_it_should_not()?;
    is_clean(&witness, &server)?;

    // As a crash leaves it, and after a start on that, and as a stop leaves it.
    server.kill()?;
    files_are_clean(&witness, &setup)?;
    let server = setup.start()?;
    flows::once_more(&mut witness, &server)?;
    witness.heard_nothing_it_should_not()?;
    is_clean(&witness, &server)?;
    server.stop()?;
    files_are_clean(&witness, &setup)
}

/// Neither the log nor standard output, nor the arguments and the environment, nor any file.
fn is_clean(witness: &Witness, server: &Musterd) -> Result<()> {
    let process = server.process();
    let outputs = [Stream::Out, Stream::Err].map(|stream| process.output_file(stream));
    let seen = ["cmdline", "environ"].map(|name| PathBuf::from(format!("/proc/{}/{name}", process.id())));
    for file in outputs.iter().chain(&seen) {
        let found = witness.search().find(&fs::read(file)?);
        ensure!(found.is_empty(), "{}: {found:?}", file.display());
    }
    let log = process.lines(Stream::Err);
    ensure!(log.iter().any(|line| line.contains("serving")), "{log:?}");
    files_are_clean(witness, server.setup())
}

/// The only files that hold a secret are those that are nothing else.
fn files_are_clean(witness: &Witness, setup: &Setup) -> Result<()> {
    let keys = ["keys/kek", "keys/admin-secret"].map(|name| setup.folder().join(name));
    for key in &keys {
        ensure!(
            !witness.search().find(&fs::read(key)?).is_empty(),
            "the search is blind to {}",
            key.display()
        );
    }
    let found = witness.search().find_below(setup.folder(), &keys)?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

#[test]
fn quickstart_prints_its_secrets_on_standard_output_and_logs_none() -> Result<()> {
    let server = Setup::quickstart_at_random()?.setting("LOG__FILTER", "trace").start()?;
    let mut witness = Witness::new(server.address(), 0);
    witness.knows_the_keys(&server)?;
    let printed = server.printed();
    for words in ["provision secret", "access token"] {
        let line = printed.iter().find_map(|line| line.trim().strip_prefix(words));
        witness.knows(words, line.map(str::trim).unwrap_or_default());
    }
    let log = fs::read(server.process().output_file(Stream::Err))?;
    let found = witness.search().find(&log);
    ensure!(found.is_empty(), "{found:?}");
    let mut keys = ["keys/kek", "keys/admin-secret"].map(|name| server.setup().folder().join(name)).to_vec();
    keys.push(server.setup().folder().join("keys/demo.json"));
    let found = witness.search().find_below(server.setup().folder(), &keys)?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

#[test]
fn the_admin_secret_is_its_owners_alone_and_printed_to_nobody_but_a_terminal() -> Result<()> {
    let server = Musterd::serve("")?;
    let keys = server.setup().folder().join("keys");
    let mode = |path: &Path| -> Result<u32> { Ok(fs::metadata(path)?.permissions().mode() & 0o777) };
    ensure!(mode(&keys)? == 0o700);
    ensure!(mode(&keys.join("admin-secret"))? == 0o600 && mode(&keys.join("kek"))? == 0o600);
    let secret = fs::read_to_string(keys.join("admin-secret"))?;
    ensure!(secret.trim().len() > 40 && !server.process().transcript().contains(secret.trim()));

    let setup = Setup::serve("")?;
    let terminal = on_a_terminal(&setup)?;
    let shown = terminal.wait_for_line(PATIENCE, |line| line.contains("mst_"))?;
    let secret = fs::read_to_string(setup.folder().join("keys/admin-secret"))?;
    ensure!(shown.contains(secret.trim()), "{shown}");
    Ok(())
}

/// `script` gives the server a terminal, `setpriv` ends it with `script`.
fn on_a_terminal(setup: &Setup) -> Result<Process> {
    let musterd = format!("exec setpriv --pdeathsig KILL {} serve", binary("musterd")?.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--command", &musterd, "/dev/null"]);
    script.env("MUSTER__DIRECTORY", setup.folder());
    script.env("MUSTER__HTTP__BIND", setup.address().http().to_string());
    script.env("MUSTER__MQTT__BIND", setup.address().mqtt().to_string());
    Process::start(&mut script)
}

#[test]
fn an_abort_leaves_no_core_dump() -> Result<()> {
    // What this process may do its children may do too, unless they forbid it themselves.
    let most = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: most, maximum: most })?;
    let setup = Setup::quickstart()?;
    let mut server = setup.start()?;
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process().id()))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    let figures: Vec<_> = core.split_whitespace().filter(|word| *word == "0").collect();
    ensure!(figures.len() == 2, "{core}");

    server.process().signal(Signal::ABORT)?;
    let status = server.process_mut().wait(PATIENCE)?;
    ensure!(status.signal() == Some(6) && !status.core_dumped(), "{status}");
    let dumps = |folder: &Path| -> Result<usize> {
        let names = fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| name.starts_with("core")).count())
    };
    ensure!(dumps(setup.home())? == 0 && dumps(setup.folder())? == 0);
    Ok(())
}
