//! The operator's program.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{env, iter};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::netns::NetworkNamespace;
use testkit::process::binary;

/// `muster`, pointed at one server.
#[derive(Debug, Clone)]
pub struct Muster {
    program: PathBuf,
    server: Vec<PathBuf>,
    namespace: Option<Arc<NetworkNamespace>>,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Muster {
    /// For the server that runs on a folder.
    ///
    /// # Errors
    /// If it was not built.
    pub fn of(folder: &Path, namespace: Option<Arc<NetworkNamespace>>) -> Result<Self> {
        Ok(Self { program: binary("muster")?, server: vec!["--data".into(), folder.into()], namespace })
    }

    /// The same server, with the token that a file holds.
    ///
    /// # Errors
    /// If it was not built.
    pub fn with_token(url: &str, file: &Path) -> Result<Self> {
        let server = vec!["--server".into(), url.into(), "--token-file".into(), file.into()];
        Ok(Self { program: binary("muster")?, server, namespace: None })
    }

    /// The command, with nothing on its standard input.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = match &self.namespace {
            Some(namespace) => namespace.command(&self.program),
            None => Command::new(&self.program),
        };
        command.args(&self.server).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it to its end, however it ends.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Ended> {
        ended(&mut self.command(arguments))
    }

    /// Runs it; its standard output.
    ///
    /// # Errors
    /// With its standard error, if it ends with another code than 0.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let ended = self.run(arguments)?;
        ensure!(ended.code == 0, "muster {arguments:?} ended with {}: {}", ended.code, ended.err);
        Ok(ended.out)
    }

    /// Runs it with `-o json`; what it says.
    ///
    /// # Errors
    /// As [`Muster::ok`], or if it is no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ok(&[&["-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).with_context(|| format!("muster {arguments:?} printed no JSON: {text:?}"))
    }

    /// Runs it and expects the failure with this code; its standard error.
    ///
    /// # Errors
    /// If it ends with another code.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> Result<String> {
        let ended = self.run(arguments)?;
        ensure!(ended.code == code, "muster {arguments:?}: {code} expected, {ended:?}");
        Ok(ended.err)
    }
}

/// Runs any command to its end.
///
/// # Errors
/// If it cannot be started.
pub fn ended(command: &mut Command) -> Result<Ended> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    Ok(Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A search path on which our programs come first, for lines that are pasted into a shell.
///
/// # Errors
/// If they were not built.
pub fn search_path() -> Result<OsString> {
    let muster = binary("muster")?;
    let folder = muster.parent().context("a program lies in a folder")?;
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(iter::once(folder.to_owned()).chain(env::split_paths(&path)))?)
}
