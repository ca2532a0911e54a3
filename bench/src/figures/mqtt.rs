//! Connect, provision, disconnect over MQTT.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use e2e::musterd::{SEED_KEY, SEED_SECRET};

use super::server::Server;
use super::{Bench, CONNECTIONS};
use crate::broker::Broker;
use crate::load::{self, Plan, Talk};
use crate::mqtt::{Greeting, Provision};
use crate::names::Names;
use crate::processor::Usage;
use crate::report::Bar;

/// What a server reached.
struct Conversed {
    rate: f64,
    /// Microseconds of processor time for each conversation.
    cost_us: f64,
}

/// Compares with Mosquitto's bare connect and disconnect by the same client.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let time = bench.time(5);
    let server = Server::empty(bench)?;
    let mut talk = Provision::new(SEED_KEY, SEED_SECRET, Names::after(0));
    let ours = converse(server.mqtt(), server.musterd.process().id(), time, &mut talk)?;
    drop(server);
    bench.report.add("MQTT: connect, provision, disconnect", ours.rate, "/s", Bar::None);
    bench.report.add("processor time of each", ours.cost_us, "us", Bar::None);
    let folder = tempfile::tempdir_in(&bench.folder)?;
    let Some(broker) = Broker::start(folder.path())? else {
        bench
            .report
            .note("mosquitto is not installed (Debian: apt-get install mosquitto): nothing to compare with");
        return Ok(());
    };
    let bare = converse(broker.address, broker.process.id(), time, &mut Greeting::new("somebody"))?;
    let (rate, cost) = (bare.rate, bare.cost_us);
    bench.report.note(&format!("Mosquitto, connect and disconnect {rate:.0} /s, {cost:.1} us each"));
    bench.report.add("of Mosquitto's bare connect and disconnect", ours.rate / rate, "", Bar::AtLeast(0.5));
    Ok(())
}

fn converse(address: SocketAddr, process: u32, time: Duration, talk: &mut impl Talk) -> Result<Conversed> {
    let before = Usage::of(process)?;
    let plan = Plan::kept(address, CONNECTIONS, time).renewed();
    let figures = load::run(&plan, talk)?.whole()?;
    let used = Usage::of(process)?.since(&before);
    Ok(Conversed { rate: figures.rate(), cost_us: used.total() * 1e6 / figures.all as f64 })
}
