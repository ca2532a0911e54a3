//! Durable provisionings a second while a million other devices are there.

use anyhow::Result;

use super::calibration::{Echo, describe_disk};
use super::server::Server;
use super::{Bench, CONNECTIONS, fleet};
use crate::names::Names;
use crate::report::Bar;

/// As the main figure, into a full registry.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let folder = fleet::copy(bench)?;
    describe_disk(bench, "before")?;
    let echo = Echo::start()?;
    let before = echo.kept(bench.time(2))?;
    let server = Server::on(folder)?;
    let measured = server.provision(bench.time(8), Names::after(1 << 40))?;
    let echoed = before.between(echo.kept(bench.time(2))?);
    describe_disk(bench, "after")?;
    let rate = measured.figures.rate();
    let report = &mut bench.report;
    report.note(&format!("echo {:.0} /s", echoed.rate));
    report.add(
        format!("provisionings with 1,000,000 devices, {CONNECTIONS} kept connections"),
        rate,
        "/s",
        Bar::AtLeast(12_000.0),
    );
    report.add("latency, 99 of 100", measured.figures.quantile_ms(0.99), "ms", Bar::None);
    report.add("processor time of the writer (w)", measured.cost_us("provisioning"), "us", Bar::None);
    Ok(())
}
