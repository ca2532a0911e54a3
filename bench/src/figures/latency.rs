//! How long a request takes when the server has half of what it can do, and telemetry beside it.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::server::{Server, talk};
use super::{Bench, CONNECTIONS};
use crate::http::Telemetry;
use crate::load::{self, Figures, Plan};
use crate::names::Names;
use crate::report::Bar;

/// Telemetry posts a second.
const POSTS: f64 = 5_000.0;

/// Finds out what the server can do, then asks for half of it.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let server = Server::empty(bench)?;
    let most = server.provision(bench.time(3), Names::after(0))?.figures.rate();
    let half = most / 2.0;
    let tokens =
        (0..CONNECTIONS as u64).map(|number| server.token(1 << 40 | number)).collect::<Result<Vec<_>>>()?;
    let alone = paced(server.http(), half, bench.time(8), 1 << 41)?;
    let (beside, posted) = with_telemetry(&server, &tokens, half, bench.time(8))?;
    let report = &mut bench.report;
    report.note(&format!("the most is {most:.0} /s; asked for {half:.0} /s"));
    report.add("provisionings at half load", alone.rate(), "/s", Bar::None);
    report.add("latency at half load, half of them", alone.quantile_ms(0.5), "ms", Bar::None);
    let p99 = alone.quantile_ms(0.99);
    report.add("latency at half load, 99 of 100", p99, "ms", Bar::AtMost(15.0));
    report.add("telemetry posts beside it", posted.rate(), "/s", Bar::None);
    report.add("provisionings with them", beside.rate(), "/s", Bar::None);
    report.add("latency with them, 99 of 100", beside.quantile_ms(0.99), "ms", Bar::AtMost(2.0 * p99));
    report.add("latency of a post, 99 of 100", posted.quantile_ms(0.99), "ms", Bar::None);
    Ok(())
}

fn with_telemetry(
    server: &Server,
    tokens: &[String],
    pace: f64,
    time: Duration,
) -> Result<(Figures, Figures)> {
    let address = server.http();
    thread::scope(|scope| {
        let posts = scope.spawn(move || {
            let plan = Plan::kept(address, tokens.len(), time).paced(POSTS);
            load::run(&plan, &mut Telemetry::new(tokens))?.whole()
        });
        let figures = paced(address, pace, time, 1 << 42)?;
        let posted = posts.join().map_err(|_| anyhow!("the telemetry generator failed"))??;
        Ok((figures, posted))
    })
}

/// New devices at a pace.
pub(super) fn paced(address: SocketAddr, pace: f64, time: Duration, names_from: u64) -> Result<Figures> {
    let plan = Plan::kept(address, CONNECTIONS, time).paced(pace);
    load::run(&plan, &mut talk(Names::after(names_from)))?.whole()
}
