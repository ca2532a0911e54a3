//! The server under test, as a user would start it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use tempfile::TempDir;
use testkit::http::HttpConnection;

use super::{Bench, CONNECTIONS};
use crate::http::Provision;
use crate::load::{self, Figures, Plan};
use crate::names::{Names, name};
use crate::processor::Usage;

/// `musterd quickstart` on a folder of its own on the measured disk, with default durability and limits.
pub(super) struct Server {
    /// The program.
    pub(super) musterd: Musterd,
    folder: TempDir,
}

/// What a run over kept connections came to.
pub(super) struct Measured {
    /// The generator's figures.
    pub(super) figures: Figures,
    /// What the server used meanwhile.
    pub(super) used: Usage,
}

impl Server {
    /// With an empty registry.
    pub(super) fn empty(bench: &Bench) -> Result<Server> {
        Server::on(tempfile::tempdir_in(&bench.folder)?)
    }

    /// On a folder, which is deleted afterwards.
    pub(super) fn on(folder: TempDir) -> Result<Server> {
        Server::with(Setup::quickstart()?, folder)
    }

    /// With an empty registry in an empty database of a PostgreSQL.
    pub(super) fn on_postgres(bench: &Bench, url: &str) -> Result<Server> {
        let setup = Setup::quickstart()?.setting("DATABASE__URL", url);
        Server::with(setup, tempfile::tempdir_in(&bench.folder)?)
    }

    /// As it is set up, on a folder, which is deleted afterwards.
    pub(super) fn with(setup: Setup, folder: TempDir) -> Result<Server> {
        let musterd = setup.on(folder.path()).start()?;
        Ok(Server { musterd, folder })
    }

    /// Where HTTP is served.
    pub(super) fn http(&self) -> SocketAddr {
        self.musterd.address().http()
    }

    /// Where MQTT is served.
    pub(super) fn mqtt(&self) -> SocketAddr {
        self.musterd.address().mqtt()
    }

    /// Provisions new devices over kept connections, as many as it can.
    pub(super) fn provision(&self, time: Duration, names: Names) -> Result<Measured> {
        let before = self.usage()?;
        let plan = Plan::kept(self.http(), CONNECTIONS, time);
        let figures = load::run(&plan, &mut talk(names))?.whole()?;
        Ok(Measured { figures, used: self.usage()?.since(&before) })
    }

    /// Provisions one device and returns its token.
    pub(super) fn token(&self, number: u64) -> Result<String> {
        let mut connection = HttpConnection::open(self.http())?;
        let reply = connection.post_json("/api/v1/provision", &request(number))?;
        let reply: serde_json::Value = serde_json::from_slice(&reply.body)?;
        let token = reply["credentialsValue"].as_str();
        Ok(token.with_context(|| format!("the server gave no token: {reply}"))?.to_owned())
    }

    /// Stops it and hands its folder over.
    pub(super) fn stop(self) -> Result<TempDir> {
        self.musterd.stop()?;
        Ok(self.folder)
    }

    fn usage(&self) -> Result<Usage> {
        Usage::of(self.musterd.process().id())
    }
}

impl Measured {
    /// Microseconds of processor time of the threads of a name, for each exchange.
    pub(super) fn cost_us(&self, thread: &str) -> f64 {
        self.used.named(thread) * 1e6 / self.figures.all as f64
    }

    /// The same of all threads.
    pub(super) fn whole_cost_us(&self) -> f64 {
        self.used.total() * 1e6 / self.figures.all as f64
    }
}

/// What a generator says to a quickstart server over HTTP.
pub(super) fn talk(names: Names) -> Provision {
    Provision::new(SEED_KEY, SEED_SECRET, names)
}

/// The body of a request for the device of a number.
pub(super) fn request(number: u64) -> String {
    let name = name(number);
    let name = String::from_utf8_lossy(&name);
    format!(
        r#"{{"deviceName":"{name}","provisionDeviceKey":"{SEED_KEY}","provisionDeviceSecret":"{SEED_SECRET}"}}"#
    )
}

/// The database of the registry below a server's folder.
pub(super) fn registry(folder: &Path) -> std::path::PathBuf {
    folder.join("db").join("main.db")
}
