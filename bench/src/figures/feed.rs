//! A reader of the change feed that is cut off again and again while devices come in: does it miss any?

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::CONNECTIONS;
use super::server::{Server, talk};
use crate::load::{self, Plan};
use crate::names::Names;
use crate::report::Bar;

/// Provisionings a second.
const PACE: f64 = 5_500.0;
/// Events after which the reader hangs up, in the middle of whatever is on its way.
const HANGS_UP_AFTER: usize = 1_501;
/// How long the reader may be behind at the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Provisions at a pace, with a reader beside it.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let server = Server::empty(bench)?;
    let made = server.musterd.muster()?.json(&["operator", "token", "create", "--tenant", "default"])?;
    let token = made["token"].as_str().context("no token was made")?.to_owned();
    let (address, wanted) = (server.http(), AtomicU64::new(u64::MAX));
    let (figures, heard) = thread::scope(|scope| {
        let reader = scope.spawn(|| read(address, &token, &wanted));
        let plan = Plan::kept(address, CONNECTIONS, bench.time(20)).paced(PACE);
        let figures = load::run(&plan, &mut talk(Names::after(0))).and_then(load::Figures::whole);
        let all = figures.as_ref().map_or(0, |figures| figures.all);
        wanted.store(all, Ordering::SeqCst);
        let heard = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        Ok::<_, anyhow::Error>((figures?, heard))
    })?;
    let report = &mut bench.report;
    report.note(&format!(
        "{} provisionings, {} events heard over {} connections",
        figures.all, heard.events, heard.connections
    ));
    report.add("provisionings, each an event", figures.rate(), "/s", Bar::AtLeast(5_000.0));
    let lost = figures.all.saturating_sub(heard.provisioned);
    report.add("events that the reader lost", lost as f64, "", Bar::AtMost(0.0));
    report.add("events that the reader heard twice", heard.twice as f64, "", Bar::AtMost(0.0));
    report.add("the reader behind the last provisioning", heard.behind.as_secs_f64(), "s", Bar::None);
    Ok(())
}

/// What a reader heard.
#[derive(Default)]
struct HeardAll {
    events: u64,
    provisioned: u64,
    twice: u64,
    connections: u64,
    behind: Duration,
}

fn read(address: SocketAddr, token: &str, wanted: &AtomicU64) -> Result<HeardAll> {
    let (mut heard, mut places) = (HeardAll::default(), HashSet::new());
    let mut place = "start".to_owned();
    let mut over: Option<Instant> = None;
    loop {
        heard.connections += 1;
        let mut lines = connect(address, token, &place)?.lines();
        let (mut id, mut since) = (String::new(), 0);
        while since < HANGS_UP_AFTER {
            match lines.next() {
                Some(Ok(line)) if line.starts_with("id:") => id = line[3..].trim().to_owned(),
                Some(Ok(line)) if line.starts_with("event:") => {
                    heard.provisioned += u64::from(line[6..].trim() == "provision");
                }
                // An event is whole with the empty line behind it; one that is cut off is told again.
                Some(Ok(line)) if line.is_empty() && !id.is_empty() => {
                    heard.events += 1;
                    heard.twice += u64::from(!places.insert(id.clone()));
                    place = std::mem::take(&mut id);
                    since += 1;
                }
                Some(Ok(_)) => {}
                None | Some(Err(_)) => break,
            }
            let wanted = wanted.load(Ordering::SeqCst);
            if wanted != u64::MAX {
                let began = *over.get_or_insert_with(Instant::now);
                heard.behind = began.elapsed();
                if heard.provisioned >= wanted || heard.behind > PATIENCE {
                    return Ok(heard);
                }
            }
        }
    }
}

/// A stream from a place on. HTTP/1.0, so that nothing stands between the lines.
fn connect(address: SocketAddr, token: &str, place: &str) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let place = place.replace('/', "%2F").replace('+', "%2B");
    write!(
        stream,
        "GET /api/muster/v1/events?after={place} HTTP/1.0\r\nHost: bench\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    )?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    ensure!(status.contains(" 200 "), "the server answered {status}");
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the answer ended in its head");
        if line.trim().is_empty() {
            return Ok(reader);
        }
    }
}
