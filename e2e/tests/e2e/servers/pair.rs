//! Two servers that share a database, a key-encryption key and two neighbours.

use anyhow::{Context, Result};
use e2e::address::Address;
use e2e::musterd::{Musterd, Setup};
use rustix::process::Signal;
use tempfile::TempDir;
use testkit::postgres::Postgres;
use testkit::process::Stream;
use testkit::receiver::Receiver;

/// How long a step belongs to a server, in seconds: short, so that leases run out.
pub(crate) const LEASE_S: u64 = 3;

/// The connectors, and when devices of the profile `joined` are made known to each.
pub(crate) const NEIGHBOURS: [(&str, &str); 2] = [("erp", "before-reply"), ("crm", "after-reply")];

/// The tokens of those who have left are all tried from one address.
const MANY_STRANGERS: &str = "unproven_per_second = 1000000\nunproven_burst = 1000000\n";

pub(crate) struct Pair {
    pub(crate) setups: [Setup; 2],
    servers: [Option<Musterd>; 2],
    pub(crate) postgres: Postgres,
    pub(crate) database: String,
    /// In the order of [`NEIGHBOURS`]; each is a process of its own.
    pub(crate) receivers: [Receiver; 2],
    /// How many late results processes have refused that are dead.
    refused: usize,
    _keys: TempDir,
}

impl Pair {
    /// Starts them all; the profile `joined` has a step at each neighbour, the profile `alone` has none.
    pub(crate) fn start() -> Result<Pair> {
        let postgres = Postgres::start()?;
        let database = postgres.database()?;
        let keys = tempfile::Builder::new().prefix("muster-keys-").tempdir()?;
        let receivers = [Receiver::start()?, Receiver::start()?];
        let connector = |(receiver, (name, _)): (&Receiver, (&str, &str))| {
            receiver.settings(&format!("connectors.{name}")) + "timeout_s = 1\n"
        };
        let config: String = receivers.iter().zip(NEIGHBOURS).map(connector).collect();
        let config = format!(
            "{config}[operations]\nlease_s = {LEASE_S}\n[provisioning]\npatience_s = 3\n{MANY_STRANGERS}"
        );
        let setup = |name: &str| -> Result<Setup> {
            let setup = Setup::serve(&config)?.setting("NAME", name);
            let setup = setup.setting("DATABASE__URL", postgres.url(&database));
            Ok(setup.setting("KEYS__FILE", keys.path().join("kek")))
        };
        let setups = [setup("one")?, setup("two")?];
        let servers = [Some(setups[0].start()?), Some(setups[1].start()?)];
        let steps: Vec<String> =
            NEIGHBOURS.iter().map(|(name, gate)| format!("--step={name}:{gate}")).collect();
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let muster = setups[0].muster()?;
        for (name, flags) in [("alone", &[][..]), ("joined", &steps)] {
            let fixed = ["profile", "create", name, "--strategy", "create-new", "--provision-key", name];
            let more = ["--provision-secret", "a secret", "--grace", "0s"];
            muster.ok(&[&fixed[..], &more[..], flags].concat())?;
        }
        Ok(Pair { setups, servers, postgres, database, receivers, refused: 0, _keys: keys })
    }

    pub(crate) fn addresses(&self) -> [Address; 2] {
        [self.setups[0].address(), self.setups[1].address()]
    }

    pub(crate) fn server(&self, which: usize) -> Result<&Musterd> {
        self.servers[which].as_ref().context("it was killed")
    }

    /// Kills one and starts it again.
    pub(crate) fn kill(&mut self, which: usize) -> Result<()> {
        let server = self.servers[which].take().context("it was killed")?;
        server.must_be_running()?;
        self.refused += refusals(&server);
        server.kill()?;
        self.servers[which] = Some(self.setups[which].start()?);
        Ok(())
    }

    /// Lets one stand still, with all it holds, until it is woken.
    pub(crate) fn freeze(&self, which: usize) -> Result<()> {
        self.server(which)?.process().signal(Signal::STOP)
    }

    /// Wakes one that was frozen.
    pub(crate) fn wake(&self, which: usize) -> Result<()> {
        self.server(which)?.process().signal(Signal::CONT)
    }

    /// How many results of steps came so late that somebody else had their lease.
    pub(crate) fn refused(&self) -> usize {
        self.refused + self.servers.iter().flatten().map(refusals).sum::<usize>()
    }
}

fn refusals(server: &Musterd) -> usize {
    let said = [Stream::Out, Stream::Err].map(|stream| server.process().lines(stream)).concat();
    said.iter().filter(|line| line.contains("its receipt is refused")).count()
}
