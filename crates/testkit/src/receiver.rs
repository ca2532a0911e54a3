//! A neighbour for connectors and hooks: a little server in a process of its own that keeps what it was told.
//!
//! The program is `webhook-receiver`, a binary of this package. It checks each call as a careful user would, keeps
//! every one in a file before it answers, and can be told to misbehave. It listens at two places: one for calls,
//! one where a test looks and gives orders, so that it can be told to come back when it is down.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::http::HttpConnection;
use crate::process::{Process, binary};

/// How long it may take to start or to answer, before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// How it misbehaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misbehaviour {
    /// What it does.
    pub how: How,
    /// Whether it does the work before.
    pub work: bool,
    /// How many calls it does it to; `None` is all until it is healed.
    pub times: Option<u64>,
    /// The only event that it does it to; `None` is all.
    pub event: Option<String>,
}

/// What can be wrong with a neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It does not listen, and its connections are closed; it comes back when it is healed.
    Down,
    /// It waits so many milliseconds before its answer, which is right.
    Slow(u64),
    /// It does the work only after so many milliseconds, when nobody may wait for it any more.
    Late(u64),
    /// It answers this status, with `Retry-After` in seconds where it is given.
    Status(u16, Option<u64>),
    /// It answers 200 and what is no JSON.
    Garbage,
    /// It answers 200 and a mebibyte.
    Huge,
    /// It answers 200 and JSON of the wrong shape.
    WrongType,
    /// It closes the connection without an answer.
    Cut,
    /// It answers nothing until it is healed, and then closes the connection.
    Hang,
    /// Its process ends.
    Die,
}

impl Misbehaviour {
    /// Instead of the work, to every call.
    #[must_use]
    pub fn instead_of_work(how: How) -> Self {
        Self { how, work: false, times: None, event: None }
    }

    /// After the work, to every call.
    #[must_use]
    pub fn after_work(how: How) -> Self {
        Self { how, work: true, times: None, event: None }
    }

    /// To so many calls only.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// To this event only.
    #[must_use]
    pub fn on(mut self, event: &str) -> Self {
        self.event = Some(event.to_owned());
        self
    }
}

/// Something that it holds for a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thing {
    /// The name it gave.
    pub external_id: String,
    /// The device's id.
    pub device: String,
    /// The device's name.
    pub name: String,
    /// The operation that ensured it last.
    pub operation: u64,
}

/// One call that it worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The event.
    pub event: String,
    /// The idempotency key, empty where there is none.
    pub key: String,
    /// The device's id, empty where there is none.
    pub device: String,
    /// Whether the same event with the same key had come before.
    pub repeated: bool,
}

/// How much there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Calls that arrived since the process began, worked on or not.
    pub calls: u64,
    /// Calls that were worked on, ever.
    pub deliveries: u64,
    /// Things that are there.
    pub devices: u64,
    /// Things that were ever made.
    pub made: u64,
    /// Things that were ever retired.
    pub retired: u64,
    /// Violations.
    pub violations: u64,
}

/// The neighbour; its process ends with it.
#[derive(Debug)]
pub struct Receiver {
    process: Process,
    address: IpAddr,
    /// Deleted with it.
    folder: TempDir,
}

impl Receiver {
    /// Starts one that knows nothing yet, at an address of its own.
    ///
    /// # Errors
    /// If it was not built, or does not start; with what it printed.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("muster-receiver-").tempdir()?;
        for name in ["secret", "previous-secret"] {
            write_secret(&folder.path().join(name))?;
        }
        let address = unused_address();
        let process = launch(folder.path(), address)?;
        Ok(Self { process, address, folder })
    }

    /// The address that it is called at.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/muster", calls(self.address))
    }

    /// The file of the secret that it knows.
    #[must_use]
    pub fn secret_file(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// The file of another secret that it knows, as while a secret is exchanged.
    #[must_use]
    pub fn previous_secret_file(&self) -> PathBuf {
        self.folder.path().join("previous-secret")
    }

    /// The secret, to look whether it stands where it must not.
    ///
    /// # Errors
    /// If the file is gone.
    pub fn secret(&self) -> Result<String> {
        Ok(fs::read_to_string(self.secret_file())?.trim_end().to_owned())
    }

    /// The part of a configuration that names it, such as `connectors.crm` or `hooks.gate`.
    #[must_use]
    pub fn settings(&self, section: &str) -> String {
        format!(
            "[{section}]\nkind = \"webhook\"\nurl = \"{}\"\nsecret_file = \"{}\"\nallow_http = true\n\
             allow_networks = [\"127.0.0.0/8\"]\n",
            self.url(),
            self.secret_file().display()
        )
    }

    /// Makes it misbehave from now on.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn misbehave(&self, how: &Misbehaviour) -> Result<()> {
        self.order("/misbehave", &serde_json::to_string(how)?)
    }

    /// Makes it behave again.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn heal(&self) -> Result<()> {
        self.order("/heal", "")
    }

    /// What it answers to questions from now on; at first `{"allow": true}`.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn answer_questions(&self, answer: &serde_json::Value) -> Result<()> {
        self.order("/answer", &answer.to_string())
    }

    /// What it holds.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn devices(&self) -> Result<Vec<Thing>> {
        self.look("/devices")
    }

    /// Every call that it worked on, in order.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn deliveries(&self) -> Result<Vec<Delivered>> {
        self.look("/deliveries")
    }

    /// What was wrong with calls: a wrong signature, a stale time, one key with two bodies, a device that comes
    /// back by an operation older than the one that it left by.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn violations(&self) -> Result<Vec<String>> {
        self.look("/violations")
    }

    /// How much there was.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn counts(&self) -> Result<Counts> {
        self.look("/counts")
    }

    /// Kills it (SIGKILL); what it was told stays in its file.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Whether its process still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.process.has_ended()
    }

    /// Starts it again with what it was told before, behaving well; one that still runs is killed.
    ///
    /// # Errors
    /// As [`Receiver::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.process = launch(self.folder.path(), self.address)?;
        Ok(())
    }

    fn order(&self, target: &str, body: &str) -> Result<()> {
        let reply = HttpConnection::open(orders(self.address))?.post_json(target, body)?;
        ensure!(reply.status == 200, "{target}: {}", reply.text());
        Ok(())
    }

    fn look<T: DeserializeOwned>(&self, target: &str) -> Result<T> {
        let looked = HttpConnection::open(orders(self.address)).and_then(|mut http| http.get(target));
        let reply = looked.with_context(|| self.process.transcript())?;
        Ok(serde_json::from_slice(&reply.body)?)
    }
}

fn launch(folder: &Path, address: IpAddr) -> Result<Process> {
    let mut command = Command::new(binary("webhook-receiver")?);
    command.args([calls(address).to_string(), orders(address).to_string()]);
    command.args(["deliveries.jsonl", "secret", "previous-secret"].map(|name| folder.join(name)));
    let process = Process::start(&mut command)?;
    process.wait_for_line(PATIENCE, |line| line == "ready")?;
    Ok(process)
}

fn calls(address: IpAddr) -> SocketAddr {
    (address, 7080).into()
}

fn orders(address: IpAddr) -> SocketAddr {
    (address, 7081).into()
}

/// A loopback address that no other receiver has, so that it can come back at the same ports.
fn unused_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

fn write_secret(path: &Path) -> Result<()> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the system has no random numbers")?;
    fs::write(path, format!("{}\n", crate::mqtt::to_hex(&bytes)))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}
