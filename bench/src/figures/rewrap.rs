//! A key-encryption key is replaced while the server serves: how long, and whether anybody notices.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use e2e::muster::Muster;
use e2e::musterd::{SEED_KEY, SEED_SECRET};

use super::server::{Server, talk};
use super::{Bench, CONNECTIONS};
use crate::http::Provision;
use crate::load::{self, Plan};
use crate::names::Names;
use crate::report::Bar;

/// Provisionings a second beside it.
const PACE: f64 = 1_000.0;
/// Values a second that the operator asks for; the default is 500.
const RATE: &str = "1000";
/// How long the load goes on before it looks whether all is over.
const SLICE: Duration = Duration::from_secs(2);

/// Seals many values, adds a key and wraps all of them anew under load.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let server = Server::empty(bench)?;
    let sealed = seal(bench, &server)?;
    let muster = server.musterd.muster()?;
    muster.ok(&["secrets", "kek", "add"])?;
    let (seconds, answered) = beside_load(&server, &muster)?;
    let left = values_of(&muster, "file")?;
    let report = &mut bench.report;
    report.note(&format!(
        "{sealed} sealed values, {RATE} a second asked for; {answered} provisionings beside it, none failed"
    ));
    report.add("values that still need the old key", left as f64, "", Bar::AtMost(0.0));
    report.add("rewrap of all sealed values under load", seconds, "s", Bar::AtMost(300.0));
    Ok(())
}

/// Devices with tokens of their own choice, which are sealed.
fn seal(bench: &Bench, server: &Server) -> Result<u64> {
    let wanted = if bench.quick { 2_000 } else { 100_000 };
    let mut talk = Provision::choosing(SEED_KEY, SEED_SECRET, Names::after(0));
    let muster = server.musterd.muster()?;
    loop {
        let sealed = values_of(&muster, "file")?;
        if sealed >= wanted {
            return Ok(sealed);
        }
        load::run(&Plan::kept(server.http(), CONNECTIONS, bench.time(1)), &mut talk)?.whole()?;
    }
}

/// Seconds of the rewrap, and how many requests were answered meanwhile.
fn beside_load(server: &Server, muster: &Muster) -> Result<(f64, u64)> {
    thread::scope(|scope| {
        let rewrap = scope.spawn(|| {
            let began = Instant::now();
            muster.ok(&["secrets", "kek", "rewrap", "--rate", RATE, "--wait"])?;
            anyhow::Ok(began.elapsed().as_secs_f64())
        });
        let (mut answered, mut names) = (0, Names::after(1 << 41));
        while !rewrap.is_finished() {
            let mut talk = talk(names);
            let plan = Plan::kept(server.http(), CONNECTIONS, SLICE).paced(PACE);
            answered += load::run(&plan, &mut talk)?.whole()?.all;
            names = talk.into_names();
        }
        let seconds = rewrap.join().map_err(|_| anyhow!("the operator's program failed"))??;
        Ok((seconds, answered))
    })
}

/// How many values are sealed by a key.
fn values_of(muster: &Muster, key: &str) -> Result<u64> {
    let secrets = muster.json(&["secrets", "list"])?;
    let keys = secrets["keks"].as_array().context("no keys")?;
    let found = keys.iter().find(|kek| kek["id"] == key).and_then(|kek| kek["values"].as_u64());
    found.with_context(|| format!("no key `{key}` in {secrets}"))
}
