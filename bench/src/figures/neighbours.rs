//! Devices that a neighbour is told of before they are answered, and that leave it again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::musterd::{SEED_KEY, SEED_SECRET, Setup};
use testkit::receiver::{How, Misbehaviour, Receiver};
use testkit::wait::eventually;

use super::server::{Server, talk};
use super::{Bench, CONNECTIONS};
use crate::calls;
use crate::load::{self, Plan};
use crate::names::Names;
use crate::report::Bar;

/// Devices that ask at a time: each waits for the neighbour.
const DEVICES: usize = 256;
/// How long a neighbour of the usual sort thinks about a call, in milliseconds.
const THINKS_MS: u64 = 20;
/// The longest that all devices may take to leave.
const PATIENCE: Duration = Duration::from_secs(120);

/// Joins through a connector beside bare signed calls; then everyone leaves.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let receiver = Receiver::start()?;
    let server = start(bench, &receiver)?;
    let names = join(bench, &server, Names::after(0), None)?;
    receiver.misbehave(&thinking())?;
    join(bench, &server, names, Some(&thinking()))?;
    receiver.heal()?;
    fill(bench, &server, &receiver)?;
    leave(bench, &server, &receiver)?;
    let violations = receiver.violations()?;
    ensure!(violations.is_empty(), "the neighbour complains: {violations:?}");
    Ok(())
}

/// One that needs time for its work, as one does that is not a loop on this machine.
fn thinking() -> Misbehaviour {
    Misbehaviour::instead_of_work(How::Slow(THINKS_MS))
}

fn join(bench: &mut Bench, server: &Server, names: Names, mood: Option<&Misbehaviour>) -> Result<Names> {
    let before = alone(bench, mood)?;
    let plan = Plan::kept(server.http(), DEVICES, bench.time(5));
    let mut talk = talk(names);
    let joined = load::run(&plan, &mut talk)?.whole()?;
    let calls = f64::midpoint(before, alone(bench, mood)?);
    let (report, neighbour) = (&mut bench.report, if mood.is_some() { "slow" } else { "quick" });
    report.note(&format!(
        "signed calls to a {neighbour} neighbour alone {calls:.0} /s, {CONNECTIONS} at a time"
    ));
    report.add(format!("provisionings gated by a {neighbour} neighbour"), joined.rate(), "/s", Bar::None);
    report.add(
        format!("of signed calls to it alone ({neighbour})"),
        joined.rate() / calls,
        "",
        Bar::AtLeast(0.6),
    );
    report.add("latency, half of them", joined.quantile_ms(0.5), "ms", Bar::None);
    report.add("latency, 99 of 100", joined.quantile_ms(0.99), "ms", Bar::None);
    Ok(talk.into_names())
}

/// A neighbour of its own, so that the other one stays as the server has left it.
fn alone(bench: &Bench, mood: Option<&Misbehaviour>) -> Result<f64> {
    let receiver = Receiver::start()?;
    if let Some(mood) = mood {
        receiver.misbehave(mood)?;
    }
    calls::measure(&receiver, CONNECTIONS, bench.time(3))
}

fn start(bench: &Bench, receiver: &Receiver) -> Result<Server> {
    let connector = receiver.settings("connectors.erp") + &format!("concurrency = {CONNECTIONS}\n");
    let server = Server::with(Setup::serve(&connector)?, tempfile::tempdir_in(&bench.folder)?)?;
    let profile = ["profile", "create", "pumps", "--strategy", "create-new", "--step", "erp:before-reply"];
    let secrets = ["--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET];
    server.musterd.muster()?.ok(&[&profile[..], &secrets[..]].concat())?;
    Ok(server)
}

/// More devices, until there are enough to leave.
fn fill(bench: &Bench, server: &Server, receiver: &Receiver) -> Result<()> {
    let wanted = if bench.quick { 500 } else { 10_000 };
    let mut names = Names::after(1 << 40);
    while receiver.counts()?.devices < wanted {
        let plan = Plan::kept(server.http(), CONNECTIONS, Duration::from_millis(500));
        let mut talk = talk(names);
        load::run(&plan, &mut talk)?.whole()?;
        names = talk.into_names();
    }
    Ok(())
}

/// From the operator's command until the neighbour knows no device any more.
fn leave(bench: &mut Bench, server: &Server, receiver: &Receiver) -> Result<()> {
    let devices = receiver.counts()?.devices;
    let began = Instant::now();
    server.musterd.muster()?.ok(&["device", "decommission", "--profile", "pumps", "--yes"])?;
    let told = began.elapsed().as_secs_f64();
    eventually("the neighbour to know nobody", PATIENCE, || {
        receiver.counts().ok().filter(|counts| counts.devices == 0).map(drop)
    })?;
    let gone = began.elapsed().as_secs_f64();
    let report = &mut bench.report;
    report.note(&format!("{devices} devices; the command took {told:.1} s, the neighbour {gone:.1} s"));
    report.add("devices that leave through a webhook", devices as f64 / gone, "/s", Bar::AtLeast(2_000.0));
    Ok(())
}
