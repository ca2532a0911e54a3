//! The main figure: durable provisionings a second into an empty registry.

use std::time::Duration;

use anyhow::Result;

use super::calibration::{Echo, Echoed, describe_disk};
use super::server::{Measured, Server, registry};
use super::{Bench, CONNECTIONS};
use crate::bare_loop::Rows;
use crate::names::{self, Names};
use crate::report::Bar;

/// Most rows that the bare loop writes anew.
const MOST_ROWS: usize = 150_000;

/// One run and what was measured around it.
struct Run {
    measured: Measured,
    echo: Echoed,
    bare: f64,
}

impl Run {
    fn rate(&self) -> f64 {
        self.measured.figures.rate()
    }
}

/// Measures three times and tells the run in the middle.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    bench.report.note(&format!("names: {}", names::HOW));
    describe_disk(bench, "before")?;
    let echo = Echo::start()?;
    let mut runs = (0..bench.runs()).map(|_| one(bench, &echo)).collect::<Result<Vec<_>>>()?;
    describe_disk(bench, "after")?;
    runs.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    let all: Vec<String> = runs.iter().map(|run| format!("{:.0}", run.rate())).collect();
    bench.report.note(&format!("runs: {} /s; the one in the middle is told", all.join(", ")));
    tell(bench, &runs[runs.len() / 2]);
    Ok(())
}

fn one(bench: &Bench, echo: &Echo) -> Result<Run> {
    let before = echo.kept(bench.time(2))?;
    let server = Server::empty(bench)?;
    let measured = server.provision(bench.time(5), Names::after(0))?;
    let folder = server.stop()?;
    let echo = before.between(echo.kept(bench.time(2))?);
    let rows = Rows::read(&registry(folder.path()), MOST_ROWS)?;
    let bare = rows.write(&bench.folder, Duration::from_secs(5))?;
    Ok(Run { measured, echo, bare })
}

fn tell(bench: &mut Bench, run: &Run) {
    let (figures, report) = (&run.measured.figures, &mut bench.report);
    let rate = figures.rate();
    report.note(&format!("echo {:.0} /s, bare loop {:.0} /s", run.echo.rate, run.bare));
    report.add(format!("provisionings, {CONNECTIONS} kept connections"), rate, "/s", Bar::AtLeast(20_000.0));
    report.add("of the echo of the same stack", rate / run.echo.rate, "", Bar::AtLeast(0.35));
    report.add("of a bare loop that writes the same rows", rate / run.bare, "", Bar::AtLeast(0.6));
    report.add("latency, half of them", figures.quantile_ms(0.5), "ms", Bar::None);
    report.add("latency, 99 of 100", figures.quantile_ms(0.99), "ms", Bar::None);
    let writer = run.measured.cost_us("provisioning");
    let engine = run.measured.whole_cost_us() - writer - run.echo.cost_us;
    report.add("processor time of the echo (e)", run.echo.cost_us, "us", Bar::None);
    report.add("processor time of protocol and engine beyond it (g)", engine, "us", Bar::None);
    report.add("processor time of the writer (w)", writer, "us", Bar::None);
}
