//! A request that is alone.

use anyhow::Result;

use super::Bench;
use super::server::{Server, talk};
use crate::load::{self, Plan};
use crate::names::Names;
use crate::report::Bar;

/// One connection, one request after the other.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let server = Server::empty(bench)?;
    let plan = Plan::kept(server.http(), 1, bench.time(3));
    let figures = load::run(&plan, &mut talk(Names::after(0)))?.whole()?;
    bench.report.add("a lone request, half of them", figures.quantile_ms(0.5), "ms", Bar::AtMost(2.0));
    bench.report.add("a lone request, 99 of 100", figures.quantile_ms(0.99), "ms", Bar::None);
    Ok(())
}
