//! What the machine does at the moment, without Muster: taken before and after each figure.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use testkit::process::Process;

use super::{Bench, CONNECTIONS};
use crate::disk;
use crate::http::Provision;
use crate::load::{self, Plan};
use crate::names::Names;
use crate::processor::Usage;

/// A running echo, ended on drop.
pub(super) struct Echo {
    process: Process,
    address: SocketAddr,
}

/// What an echo reached.
#[derive(Clone, Copy)]
pub(super) struct Echoed {
    /// Exchanges a second.
    pub(super) rate: f64,
    /// Microseconds of processor time for each.
    pub(super) cost_us: f64,
}

impl Echo {
    /// Starts one.
    pub(super) fn start() -> Result<Echo> {
        let process = Process::start(Command::new(std::env::current_exe()?).arg("echo"))?;
        let address = process.wait_for_line(Duration::from_secs(10), |_| true)?.parse()?;
        Ok(Echo { process, address })
    }

    /// Asks it over kept connections.
    pub(super) fn kept(&self, time: Duration) -> Result<Echoed> {
        self.measure(&Plan::kept(self.address, CONNECTIONS, time))
    }

    /// Asks it with a new connection each time.
    pub(super) fn renewed(&self, time: Duration) -> Result<Echoed> {
        self.measure(&Plan::kept(self.address, CONNECTIONS, time).renewed())
    }

    fn measure(&self, plan: &Plan) -> Result<Echoed> {
        let before = Usage::of(self.process.id())?;
        let figures = load::run(plan, &mut Provision::new("key", "secret", Names::after(0)))?.whole()?;
        let used = Usage::of(self.process.id())?.since(&before);
        Ok(Echoed { rate: figures.rate(), cost_us: used.total() * 1e6 / figures.all as f64 })
    }
}

impl Echoed {
    /// Between two that were measured around something.
    pub(super) fn between(self, other: Echoed) -> Echoed {
        Echoed {
            rate: f64::midpoint(self.rate, other.rate),
            cost_us: f64::midpoint(self.cost_us, other.cost_us),
        }
    }
}

/// Prints where the data lies, how it is synced, and how fast the disk syncs now.
pub(super) fn describe_disk(bench: &Bench, when: &str) -> Result<()> {
    let file_system = disk::file_system(&bench.folder)?;
    let syncs = disk::syncs_per_second(&bench.folder, Duration::from_millis(500))?;
    bench.report.note(&format!(
        "{when}: {file_system}, {syncs:.0} writes of 32 KiB with fdatasync a second; the server syncs with WAL, synchronous=FULL"
    ));
    Ok(())
}
