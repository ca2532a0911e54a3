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
use crate::report::Bar;

/// Compares with Mosquitto's bare connect and disconnect by the same client.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let time = bench.time(5);
    let server = Server::empty(bench)?;
    let rate =
        conversations(server.mqtt(), time, &mut Provision::new(SEED_KEY, SEED_SECRET, Names::after(0)))?;
    drop(server);
    bench.report.add("MQTT: connect, provision, disconnect", rate, "/s", Bar::None);
    let folder = tempfile::tempdir_in(&bench.folder)?;
    let Some(broker) = Broker::start(folder.path())? else {
        bench
            .report
            .note("mosquitto is not installed: nothing to compare with (cargo xtask test installs it)");
        return Ok(());
    };
    let bare = conversations(broker.address, time, &mut Greeting::new("somebody"))?;
    bench.report.note(&format!("Mosquitto, connect and disconnect {bare:.0} /s"));
    bench.report.add("of Mosquitto's bare connect and disconnect", rate / bare, "", Bar::AtLeast(0.5));
    Ok(())
}

fn conversations(address: SocketAddr, time: Duration, talk: &mut impl Talk) -> Result<f64> {
    let plan = Plan::kept(address, CONNECTIONS, time).renewed();
    Ok(load::run(&plan, talk)?.whole()?.rate())
}
