//! A server whose devices join a neighbour: the parts of a test about steps and leaving.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::receiver::{Receiver, Thing};
use testkit::wait::eventually;

use crate::PATIENCE;
use crate::device::{Answer, Group, Http, Mqtt};
use crate::muster::Muster;
use crate::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};

/// Settings of a server for tests: short leases and calls, and a device that waits for three seconds.
const SHORT: &str = "[operations]\nlease_s = 2\n[provisioning]\npatience_s = 3\n";

/// A server, its neighbour, and a profile whose devices are made known to it.
pub struct Joined {
    /// The server, while it runs.
    pub server: Option<Musterd>,
    /// What it is started with.
    pub setup: Setup,
    /// The neighbour `erp`, which is also the hook `gate`.
    pub receiver: Receiver,
    /// The operator's program.
    pub muster: Muster,
}

impl Joined {
    /// Starts both; `profile` are the flags of the profile `pumps` beside its key and secret.
    ///
    /// # Errors
    /// If one does not start.
    pub fn start(profile: &[&str]) -> Result<Joined> {
        Joined::start_by(profile, Setup::start)
    }

    /// The same, with a server that `start` starts in its own way.
    ///
    /// # Errors
    /// As [`Joined::start`].
    pub fn start_by(profile: &[&str], start: impl FnOnce(&Setup) -> Result<Musterd>) -> Result<Joined> {
        let receiver = Receiver::start()?;
        let parts = [receiver.settings("connectors.erp"), receiver.settings("hooks.gate")];
        let config = parts.map(|part| part + "timeout_s = 1\n").concat() + SHORT;
        let setup = Setup::serve(&config)?;
        let server = Some(start(&setup)?);
        let muster = setup.muster()?;
        let fixed =
            ["profile", "create", "pumps", "--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET];
        muster.ok(&[&fixed, profile].concat())?;
        Ok(Joined { server, setup, receiver, muster })
    }

    /// The server.
    ///
    /// # Errors
    /// If it was stopped.
    pub fn server(&self) -> Result<&Musterd> {
        self.server.as_ref().context("the server does not run")
    }

    /// Asks once for a device, over HTTP.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn ask(&self, name: &str) -> Result<Answer> {
        let group = Group::new(SEED_KEY, SEED_SECRET);
        Http::open(self.setup.address().http())?.provision(&group.ask(name))
    }

    /// Asks until there is an answer, as a device does; its token.
    ///
    /// # Errors
    /// If it is refused.
    pub fn insist(&self, name: &str) -> Result<String> {
        let answer = eventually("an answer for the device", PATIENCE, || match self.ask(name) {
            Ok(Answer::Later) | Err(_) => None,
            Ok(answer) => Some(answer),
        })?;
        answer.into_token()
    }

    /// Whether a token lets its holder in.
    #[must_use]
    pub fn lets_in(&self, token: &str) -> bool {
        Mqtt::open_with_token(self.setup.address().mqtt(), token).is_ok()
    }

    /// What the neighbour holds under a device's name.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn known_outside(&self, name: &str) -> Result<Vec<Thing>> {
        Ok(self.receiver.devices()?.into_iter().filter(|thing| thing.name == name).collect())
    }

    /// Waits until the neighbour holds so many things under a device's name.
    ///
    /// # Errors
    /// If that does not come to pass.
    pub fn until_known(&self, name: &str, count: usize) -> Result<()> {
        eventually("the neighbour to know so many", PATIENCE, || {
            self.known_outside(name).ok().filter(|things| things.len() == count).map(drop)
        })
    }

    /// The device as operators see it.
    ///
    /// # Errors
    /// If there is none.
    pub fn device(&self, name: &str) -> Result<Value> {
        self.muster.json(&["device", "show", name])
    }

    /// Waits until a device is in a state.
    ///
    /// # Errors
    /// If it does not come there.
    pub fn until_state(&self, name: &str, state: &str) -> Result<()> {
        eventually(&format!("{name} to be {state}"), PATIENCE, || {
            self.device(name).ok().filter(|device| device["state"] == state).map(drop)
        })
    }

    /// The operations of a device, the newest first.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn operations(&self, name: &str) -> Result<Vec<Value>> {
        let listed = self.muster.json(&["operation", "list", "--device", name])?;
        listed.as_array().cloned().context("a list")
    }

    /// Waits until nothing is left to do for a device.
    ///
    /// # Errors
    /// If something is.
    pub fn until_settled(&self, name: &str) -> Result<()> {
        eventually(&format!("all operations of {name} to end"), PATIENCE, || {
            let operations = self.operations(name).ok()?;
            operations.iter().all(|operation| operation["phase"] == "done").then_some(())
        })
    }

    /// What must be true whatever happened: the neighbour has nothing to complain of, and the journal is whole.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_peace(&self) -> Result<()> {
        let violations = self.receiver.violations()?;
        ensure!(violations.is_empty(), "the neighbour complains: {violations:?}");
        let verified = self.muster.ok(&["audit", "verify"])?;
        ensure!(!verified.contains("wrong"), "{verified}");
        Ok(())
    }
}

/// The telemetry that tests send.
#[must_use]
pub fn reading() -> Value {
    json!({ "temperature": 21.5 })
}
