//! What the manual shows as a shell's lines works as it is written.

mod blocks;

use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;
use std::{env, fs};

use anyhow::{Result, ensure};
use e2e::device::{Group, Http};
use e2e::muster::{ended, search_path};
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use e2e::openid::Provider;
use testkit::netns::NetworkNamespace;

#[test]
fn every_example_of_the_page_on_thingsboard_runs() -> Result<()> {
    let page = fs::read_to_string(e2e::own("../docs/protocols/thingsboard.md"))?;
    let examples = examples(&page);
    ensure!(examples.len() == 6, "the page has {} examples", examples.len());
    let setup = Setup::quickstart()?.within(&Arc::new(NetworkNamespace::new()?));
    // The server's certificate is made before it starts.
    let (before, examples): (Vec<_>, Vec<_>) =
        examples.into_iter().partition(|example| example.contains("-out server.pem"));
    for example in before {
        let made = ended(setup.neighbour("sh").current_dir(setup.home()).args(["-e", "-c", example]))?;
        ensure!(made.code == 0, "{example}\n{}", made.err);
    }
    let settings = page.lines().find_map(|line| line.trim().strip_prefix("export ")).unwrap_or_default();
    let words = settings.split(' ').filter_map(|word| word.strip_prefix("MUSTER__")?.split_once('='));
    let server = words.fold(setup, |setup, (key, value)| setup.setting(key, value)).start()?;
    let printed = run(&server, &examples)?;
    let told = ["SUCCESS", "SN-001", "SN-002", "25", "26", "27", "\"interval\"", "\"provisionState\""];
    contains(&printed, &told)
}

#[test]
fn every_example_of_the_guide_on_leaving_runs() -> Result<()> {
    let page = fs::read_to_string(e2e::own("../docs/guides/leaving.md"))?;
    let server = Setup::quickstart()?.start()?;
    for name in ["SN-001", "SN-002"] {
        let answer =
            Http::open(server.address().http())?.provision(&Group::new(SEED_KEY, SEED_SECRET).ask(name))?;
        ensure!(answer.is_granted(), "{answer:?}");
    }
    let left = [
        "would leave  2 devices: SN-001, SN-002",
        "2 devices are leaving",
        "what the server with this key signed",
    ];
    contains(&run(&server, &examples(&page))?, &left)
}

#[test]
fn every_example_of_the_guide_for_programs_runs() -> Result<()> {
    let page = fs::read_to_string(e2e::own("../docs/guides/programs.md"))?;
    let server = Setup::quickstart()?.within(&Arc::new(NetworkNamespace::new()?)).start()?;
    // The second example goes on with what the first one knows.
    let printed = run(&server, &[&examples(&page).join("\n")])?;
    contains(
        &printed,
        &["\"label\":\"first\"", "precondition-failed", "201 Created", "idempotency-replayed: true"],
    )
}

#[test]
fn every_example_of_the_guide_on_the_fleet_runs() -> Result<()> {
    let page = fs::read_to_string(e2e::own("../docs/guides/fleet.md"))?;
    let server = Setup::quickstart()?.within(&Arc::new(NetworkNamespace::new()?)).start()?;
    contains(
        &run(&server, &examples(&page))?,
        &["line=3,site=berlin", "next to the door", "\"code\":\"device-not-found\""],
    )
}

#[test]
fn every_example_of_the_page_on_the_command_line_runs() -> Result<()> {
    let page = fs::read_to_string(e2e::own("../docs/reference/muster.md"))?;
    let server = Setup::quickstart()?.start()?;
    let printed = run(&server, &examples(&page))?;
    contains(
        &printed,
        &["The server is called here", "demo-device-1", "\"provisioned\"", "muster-device-list.1"],
    )
}

#[test]
fn every_example_of_the_page_on_operators_runs() -> Result<()> {
    let page = fs::read_to_string(e2e::own("../docs/guides/operators.md"))?;
    let server = Setup::quickstart()?.within(&Arc::new(NetworkNamespace::new()?)).start()?;
    let printed = run(&server, &examples(&page))?;
    let wanted = [
        "ann@example.org",
        "You are signed on as ann@example.org",
        "\"actor\":\"account:ann@example.org\"",
        "the key of lot 7 was found in a forum",
        "root@example.org",
        "An operator has stopped provisioning",
    ];
    contains(&printed, &wanted)
}

#[test]
fn every_example_of_the_guide_on_single_sign_on_runs() -> Result<()> {
    let page = fs::read_to_string(e2e::own("../docs/guides/single-sign-on.md"))?;
    let namespace = Arc::new(NetworkNamespace::new()?);
    let provider = Provider::start_within(&namespace, &["ann=muster-admins"])?;
    let config = provider.config("[\"muster-admins -> admin\"]")?;
    let server = Setup::serve(&config)?.within(&namespace).start()?;
    // The browser: it goes where it is sent, and is ann's.
    let programs = server.setup().home().join("programs");
    fs::create_dir(&programs)?;
    let curl = "curl --silent --location --cookie-jar jar --cookie jar --output /dev/null";
    fs::write(programs.join("xdg-open"), format!("#!/bin/sh\nexec {curl} \"$1&login_hint=ann\"\n"))?;
    fs::set_permissions(programs.join("xdg-open"), fs::Permissions::from_mode(0o755))?;
    let path = env::join_paths([programs].into_iter().chain(env::split_paths(&search_path()?)))?;
    let wanted = ["signed on as ann@example.org; the server is called work", "signed off from work", "admin"];
    contains(&run_on(&server, &examples(&page), &path)?, &wanted)
}

/// Runs each in a shell of its own, in one folder; what they print.
fn run(server: &Musterd, examples: &[&str]) -> Result<String> {
    run_on(server, examples, &search_path()?)
}

/// The same, with programs found on this search path.
fn run_on(server: &Musterd, examples: &[&str], path: &OsStr) -> Result<String> {
    let home = server.setup().home();
    symlink(server.setup().folder(), home.join("muster-data"))?;
    let mut printed = String::new();
    for example in examples {
        let mut shell = server.setup().neighbour("sh");
        shell.current_dir(home).env("PATH", path).env("XDG_CONFIG_HOME", home);
        let ended = ended(shell.args(["-e", "-c", example]))?;
        ensure!(ended.code == 0, "{example}\nended with {}: {}", ended.code, ended.err);
        printed += &ended.out;
    }
    Ok(printed)
}

fn contains(printed: &str, wanted: &[&str]) -> Result<()> {
    for shown in wanted {
        ensure!(printed.contains(shown), "{shown} is not among what the examples print:\n{printed}");
    }
    Ok(())
}

/// The blocks marked `sh`.
pub(super) fn examples(page: &str) -> Vec<&str> {
    blocks(page, "sh")
}

/// What a page shows in one language.
pub(super) fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    page.split(&format!("```{language}\n")).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}
