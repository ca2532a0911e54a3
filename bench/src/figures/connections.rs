//! A new connection for each request.

use anyhow::Result;

use super::calibration::Echo;
use super::server::{Server, talk};
use super::{Bench, CONNECTIONS};
use crate::load::{self, Plan};
use crate::names::Names;
use crate::report::Bar;

/// Compares with an echo that is asked in the same way.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let echo = Echo::start()?;
    let before = echo.renewed(bench.time(3))?;
    let server = Server::empty(bench)?;
    let plan = Plan::kept(server.http(), CONNECTIONS, bench.time(5)).renewed();
    let figures = load::run(&plan, &mut talk(Names::after(0)))?.whole()?;
    drop(server);
    let echoed = before.between(echo.renewed(bench.time(3))?);
    let report = &mut bench.report;
    report.note(&format!("echo with new connections {:.0} /s", echoed.rate));
    report.add("provisionings, each with a new connection", figures.rate(), "/s", Bar::None);
    report.add("of bare HTTP with new connections", figures.rate() / echoed.rate, "", Bar::AtLeast(0.5));
    Ok(())
}
