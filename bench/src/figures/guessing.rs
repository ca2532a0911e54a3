//! What devices feel of strangers who guess passwords and tokens.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use e2e::guessing::{ADDRESSES, Guesses, OWNER, TRIES};

use super::latency::paced;
use super::server::Server;
use super::{Bench, CONNECTIONS};
use crate::load::Figures;
use crate::names::Names;
use crate::report::Bar;

/// Finds out what the server can do, asks for a quarter of it, and then for the same among guessers.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let server = Server::empty(bench)?;
    let file = server.musterd.setup().home().join("password");
    fs::write(&file, "correct horse battery staple")?;
    let file = file.to_str().context("no text")?;
    server.musterd.muster()?.ok(&["operator", "add", OWNER, "--role", "admin", "--password-file", file])?;
    let most = server.provision(bench.time(3), Names::after(0))?.figures.rate();
    let quarter = most / 4.0;
    let idle = paced(server.http(), quarter, bench.time(10), 1 << 41)?;
    let (slices, guesses) = among_guessers(bench, &server, quarter)?;
    let report = &mut bench.report;
    report.note(&format!(
        "the most is {most:.0} /s; asked for {quarter:.0} /s over {CONNECTIONS} connections; {} guesses from \
         {ADDRESSES} addresses, answered {:?}",
        ADDRESSES * TRIES,
        guesses.heard()
    ));
    let p99 = idle.quantile_ms(0.99);
    report.add("latency without guessers, 99 of 100", p99, "ms", Bar::None);
    let all: Vec<String> = slices.iter().map(|it| format!("{:.2}", it.quantile_ms(0.99))).collect();
    report.note(&format!("99 of 100 among guessers, in each slice: {} ms", all.join(", ")));
    let mut sorted: Vec<f64> = slices.iter().map(|it| it.quantile_ms(0.99)).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    report.add(
        "latency among guessers, 99 of 100 (slice in the middle)",
        middle,
        "ms",
        Bar::AtMost(2.0 * p99),
    );
    Ok(())
}

/// Slices of load for as long as the guessing goes on.
fn among_guessers(bench: &Bench, server: &Server, pace: f64) -> Result<(Vec<Figures>, Guesses)> {
    let (guesses, over, address) = (Guesses::default(), AtomicBool::new(false), server.http());
    let slices = thread::scope(|scope| {
        let guessing = scope.spawn(|| {
            let done = guesses.carry_out(address);
            over.store(true, Ordering::Relaxed);
            done
        });
        let mut slices = Vec::new();
        while !over.load(Ordering::Relaxed) || slices.is_empty() {
            let names_from = (1 << 42) + ((slices.len() as u64) << 32);
            slices.push(paced(address, pace, bench.time(5), names_from)?);
        }
        guessing.join().map_err(|_| anyhow::anyhow!("the guessers gave up"))??;
        anyhow::Ok(slices)
    })?;
    Ok((slices, guesses))
}
