//! A key in a security module: SoftHSM, with a token that the test makes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::muster::ended;
use e2e::musterd::{Musterd, Setup};
use testkit::process::{Process, Stream};

use super::{kek, logs_in, profile, provision_choosing, readiness};

const PIN: &str = "4711-0815";

/// A folder with a token in it, and what a server needs to find it.
struct Token {
    folder: tempfile::TempDir,
    module: PathBuf,
}

impl Token {
    fn new() -> Result<Token> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("tokens"))?;
        let config = format!("directories.tokendir = {}\n", folder.path().join("tokens").display());
        fs::write(folder.path().join("softhsm2.conf"), config)?;
        let token = Token { folder, module: module()? };
        let words = ["--init-token", "--free", "--label", "muster", "--so-pin", "12345678", "--pin", PIN];
        let made = ended(Command::new("softhsm2-util").args(words).env("SOFTHSM2_CONF", token.config()))?;
        ensure!(made.code == 0, "{made:?}");
        token.write_pin(PIN)?;
        Ok(token)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    fn write_pin(&self, pin: &str) -> Result<()> {
        let file = self.folder.path().join("pin");
        fs::write(&file, pin)?;
        Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o600))?)
    }

    fn settings(&self, mechanism: &str) -> String {
        format!(
            "[keys]\nprovider = \"pkcs11\"\n[keys.pkcs11]\nmodule = \"{}\"\ntoken = \"muster\"\n\
             pin_file = \"{}\"\nmechanism = \"{mechanism}\"\n",
            self.module.display(),
            self.folder.path().join("pin").display()
        )
    }

    fn start(&self, setup: &Setup) -> Result<Musterd> {
        let server = setup.launch(|command| {
            command.env("SOFTHSM2_CONF", self.config());
            Ok(())
        })?;
        server.wait_until_ready()?;
        Ok(server)
    }
}

fn module() -> Result<PathBuf> {
    let places =
        ["/usr/lib/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib/aarch64-linux-gnu/softhsm"];
    let found = places.iter().map(|place| Path::new(place).join("libsofthsm2.so")).find(|path| path.exists());
    found.context("SoftHSM is not installed: sh e2e/install")
}

fn heard(process: &Process) -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(process.output_file(Stream::Err))?).into_owned())
}

/// Sealed by the token, opened after a restart, locked with a wrong PIN and open again with the right one.
fn serves_with(mechanism: &str) -> Result<()> {
    let token = Token::new()?;
    let setup = Setup::serve(&token.settings(mechanism))?;
    let server = token.start(&setup)?;
    profile(&server)?;
    provision_choosing(&server, "chose", 20)?;
    ensure!(kek(&server, "pkcs11:muster-kek")?["state"] == "active");
    ensure!(!setup.folder().join("keys/kek").exists(), "there is a key outside the token");
    server.stop()?;

    token.write_pin("0000-0000")?;
    let server = token.start(&setup)?;
    ensure!(readiness(&server)?.0 == 503);
    let told = heard(server.process())?;
    ensure!(told.contains("PIN") && !told.contains("0000-0000"), "{told}");
    token.write_pin(PIN)?;
    server.muster()?.ok(&["secrets", "unlock"])?;
    logs_in(&server, "chose-token-7")?;
    ensure!(server.muster()?.json(&["secrets", "verify"])?["unreadable"] == 0);

    server.muster()?.ok(&["secrets", "kek", "add"])?;
    server.muster()?.ok(&["secrets", "kek", "rewrap", "--rate", "10000", "--wait"])?;
    server.muster()?.ok(&["secrets", "kek", "retire", "pkcs11:muster-kek", "--yes"])?;
    ensure!(kek(&server, "pkcs11:muster-kek-2")?["state"] == "active");
    server.stop()
}

#[test]
fn a_key_in_a_security_module_serves_by_gcm() -> Result<()> {
    serves_with("gcm")
}

#[test]
fn a_key_in_a_security_module_serves_by_key_wrap() -> Result<()> {
    serves_with("key-wrap-pad")
}

#[test]
fn a_server_moves_from_a_file_into_a_security_module() -> Result<()> {
    let token = Token::new()?;
    let server = Musterd::serve("")?;
    profile(&server)?;
    provision_choosing(&server, "chose", 20)?;
    let folder = server.setup().folder().to_owned();
    let first = server.setup().clone();
    server.stop()?;

    let setup = Setup::serve(&token.settings("auto"))?.on(&folder);
    let server = token.start(&setup)?;
    ensure!(kek(&server, "file")?["state"] == "active");
    server.muster()?.ok(&["secrets", "kek", "add"])?;
    server.muster()?.ok(&["secrets", "kek", "rewrap", "--rate", "10000", "--wait"])?;
    server.muster()?.ok(&["secrets", "kek", "retire", "file", "--yes"])?;
    server.stop()?;
    fs::remove_file(folder.join("keys/kek"))?;
    let server = token.start(&setup)?;
    logs_in(&server, "chose-token-3")?;
    server.stop()?;
    drop(first);
    Ok(())
}
