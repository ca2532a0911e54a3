//! Unmodified clients in Python, and the programs of the ThingsBoard document.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, ensure};

/// The document with the programs, in the folder of seed texts.
const DOCUMENT: &str = "003-thingsboard-device-provisioning.md";

/// A Python with one client library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Python {
    /// `requests`.
    Requests,
    /// `paho-mqtt` 1.x.
    Paho1,
    /// `paho-mqtt` 2.x.
    Paho2,
    /// `tb-mqtt-client`, ThingsBoard's SDK for devices.
    DeviceSdk,
    /// ThingsBoard's `tb-ce-client`.
    ThingsboardCe,
    /// ThingsBoard's older `tb-rest-client`.
    ThingsboardRest,
    /// ThingsBoard's command line.
    ThingsboardCli,
    /// `openapi-spec-validator`, a judge of OpenAPI documents.
    OpenapiValidator,
    /// `openapi-python-client`, which makes clients of such documents, and `mypy`, which reads what uses them.
    OpenapiClient,
    /// `schemathesis`, which asks at random what such documents allow, and what they do not.
    Schemathesis,
}

impl Python {
    /// The interpreter; made by `e2e/install` where it is not there yet.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn interpreter(self) -> Result<PathBuf> {
        Ok(installed(self.folder())?.join("bin/python"))
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Requests => "python-requests",
            Self::Paho1 => "python-paho-1",
            Self::Paho2 => "python-paho-2",
            Self::DeviceSdk => "python-device-sdk",
            Self::ThingsboardCe => "python-tb-ce",
            Self::ThingsboardRest => "python-tb-rest",
            Self::ThingsboardCli => "python-tb-cli",
            Self::OpenapiValidator => "python-openapi-validator",
            Self::OpenapiClient => "python-openapi-client",
            Self::Schemathesis => "python-schemathesis",
        }
    }
}

/// A folder in the cache; made by `e2e/install` where it is not there yet.
pub(crate) fn installed(folder: &str) -> Result<PathBuf> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| install().map_err(|error| format!("{error:#}")));
    installed.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(cache()?.join(folder))
}

fn install() -> Result<()> {
    let output = Command::new(crate::own("install")).output().context("cannot run e2e/install")?;
    ensure!(output.status.success(), "e2e/install: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn cache() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("MUSTER_CACHE") {
        return Ok(folder.into());
    }
    let home = env::var_os("HOME").context("neither MUSTER_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/muster"))
}

/// Which of the document's two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// "Python HTTP Example".
    Http,
    /// "Python MQTT Example".
    Mqtt,
}

impl Program {
    /// The program's text: the document's own, unchanged, or an equal one of ours where the folder with
    /// the seed texts (`../shared/seeds` beside the repository, or `MUSTER_SEEDS`) is absent.
    ///
    /// # Errors
    /// If the document is there and the program is not in it.
    #[expect(clippy::print_stderr, reason = "whoever reads the test's output has to know what was run")]
    pub fn text(self) -> Result<String> {
        let folder =
            env::var_os("MUSTER_SEEDS").map_or_else(|| crate::own("../../shared/seeds"), PathBuf::from);
        let document = folder.join(DOCUMENT);
        if document.exists() {
            let document = fs::read_to_string(&document)?;
            return self.cut(&document).with_context(|| format!("no program under `{}`", self.heading()));
        }
        eprintln!("{} is absent: running an equal program of our own", document.display());
        Ok(fs::read_to_string(crate::own(self.own_file()))?)
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Http => "### Python HTTP Example",
            Self::Mqtt => "### Python MQTT Example",
        }
    }

    fn own_file(self) -> &'static str {
        match self {
            Self::Http => "programs/provision_http.py",
            Self::Mqtt => "programs/provision_mqtt.py",
        }
    }

    fn cut(self, document: &str) -> Option<String> {
        let (_, section) = document.split_once(self.heading())?;
        let (_, program) = section.split_once("```python\n")?;
        Some(program.split_once("```")?.0.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_cut_out_between_its_fences() {
        let document =
            "### Python MQTT Example\n```python\nm()\n```\n### Python HTTP Example\n\n```python\nh()\n```\n";
        assert_eq!(Program::Mqtt.cut(document).as_deref(), Some("m()\n"));
        assert_eq!(Program::Http.cut(document).as_deref(), Some("h()\n"));
        assert_eq!(Program::Http.cut("### Python HTTP Example"), None);
    }
}
