//! Durable provisionings a second on PostgreSQL, which shares the processors.

use std::time::Duration;

use anyhow::Result;
use testkit::postgres::Postgres;

use super::calibration::{Echo, describe_disk};
use super::server::Server;
use super::{Bench, CONNECTIONS};
use crate::bare_unnest::write_anew;
use crate::names::Names;
use crate::report::Bar;

/// Most rows that the bare client writes anew.
const MOST_ROWS: usize = 100_000;

/// Compares with a client that writes the same rows in batches of the same size.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    describe_disk(bench, "before")?;
    let postgres = Postgres::start()?;
    let database = postgres.database()?;
    let echo = Echo::start()?;
    let before = echo.kept(bench.time(2))?;
    let server = Server::on_postgres(bench, &postgres.url(&database))?;
    let measured = server.provision(bench.time(5), Names::after(0))?;
    server.stop()?;
    let echoed = before.between(echo.kept(bench.time(2))?);
    let bare = write_anew(&postgres.url(&database), MOST_ROWS, Duration::from_secs(5))?;
    let (rate, report) = (measured.figures.rate(), &mut bench.report);
    report.note(&format!(
        "echo {:.0} /s; bare UNNEST client {:.0} /s in batches of {}, the server's mean",
        echoed.rate, bare.rate, bare.batch
    ));
    let what = format!("provisionings on PostgreSQL, {CONNECTIONS} kept connections");
    report.add(what, rate, "/s", Bar::AtLeast(6_000.0));
    report.add("of a bare client that writes the same rows", rate / bare.rate, "", Bar::AtLeast(0.5));
    report.add("latency, half of them", measured.figures.quantile_ms(0.5), "ms", Bar::None);
    report.add("latency, 99 of 100", measured.figures.quantile_ms(0.99), "ms", Bar::None);
    report.add("processor time of the server", measured.whole_cost_us(), "us", Bar::None);
    Ok(())
}
