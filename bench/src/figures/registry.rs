//! Listings, selectors and searches over a million devices, beside one indexed look-up of the same run.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde_json::Value;
use testkit::http::HttpConnection;

use super::server::{Server, registry};
use super::{Bench, fleet};
use crate::names::name;
use crate::report::Bar;

/// What each may take, 99 times of 100.
const BAR_MS: f64 = 100.0;
/// Below it lies our own API.
const API: &str = "/api/muster/v1";

/// Fills a registry and asks it in every way in which devices are looked for.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let folder = fleet::copy(bench)?;
    let size = fleet::size(bench);
    describe(&registry(folder.path()), size)?;
    let server = Server::on(folder)?;
    let made = server.musterd.muster()?.json(&["operator", "token", "create", "--tenant", "default"])?;
    let token = made["token"].as_str().context("no token was made")?;
    let mut desk = Desk { connection: HttpConnection::open(server.http())?, token: token.to_owned() };
    desk.wait_for_texts()?;
    let rounds = if bench.quick { 20 } else { 300 };
    for (what, asked) in questions(&mut desk, size)? {
        let figures = desk.measure(&asked, rounds)?;
        let quantile = |quantile| figures.value_at_quantile(quantile) as f64 / 1000.0;
        bench.report.add(format!("{what}, half of them"), quantile(0.5), "ms", Bar::None);
        bench.report.add(format!("{what}, 99 of 100"), quantile(0.99), "ms", Bar::AtMost(BAR_MS));
    }
    Ok(())
}

/// Labels, moments and states, as years of work would leave them: set in the file while nobody serves.
fn describe(file: &Path, size: u64) -> Result<()> {
    let connection = rusqlite::Connection::open(file)?;
    connection.execute_batch(
        "BEGIN;
         INSERT INTO device_labels SELECT tenant, 'lot', 'l' || (device % 1000), device FROM devices;
         INSERT INTO device_labels SELECT tenant, 'site', 's' || (device % 2), device FROM devices;
         INSERT INTO device_seen SELECT device, tenant, 1700000000000 + (device * 7919 % 1000003) * 1000 FROM devices
             WHERE device % 4 <> 0;
         UPDATE devices SET state = 'failed' WHERE device % 5000 = 7;
         UPDATE devices SET state = 'disabled-expected' WHERE device % 100 = 2;
         UPDATE devices SET label = 'hall ' || (device % 7777) WHERE device % 10 = 3;
         COMMIT;",
    )?;
    let labels = "SELECT count(*) FROM device_labels";
    let labels: i64 = connection.query_row(labels, [], |row| row.get(0))?;
    ensure!(labels.unsigned_abs() >= 2 * size, "{labels} labels");
    Ok(())
}

/// A question, as one request after the other.
enum Asked {
    /// The same each time.
    Same(String),
    /// About another device each time.
    Named(String),
}

/// Everything that is asked.
fn questions(desk: &mut Desk, size: u64) -> Result<Vec<(String, Asked)>> {
    let same = |path: &str| Asked::Same(path.to_owned());
    let ours = |query: &str| Asked::Same(format!("{API}/devices?limit=100&{query}"));
    let middle = size / 2 / 100;
    let deep = size / 100 - 1;
    let mut all = vec![
        ("one look-up by name".to_owned(), Asked::Named(format!("{API}/devices/"))),
        ("first page".to_owned(), ours("")),
        ("page in the middle".to_owned(), ours("cursor=d-8")),
        ("last page".to_owned(), ours("cursor=d-fffe")),
        ("by profile".to_owned(), ours("profile=demo")),
        ("by state, most of them".to_owned(), ours("state=expected")),
        ("by state, few of them".to_owned(), ours("state=failed")),
        ("by state and profile".to_owned(), ours("state=disabled&profile=demo")),
        ("by label, a thousand".to_owned(), ours("labels=lot%3Dl77")),
        ("by label, half of them".to_owned(), ours("labels=site%3Ds1")),
        ("by two labels".to_owned(), ours("labels=lot%3Dl77,site%3Ds1")),
        ("by label and state".to_owned(), ours("labels=site%3Ds1&state=failed")),
        ("last seen before".to_owned(), ours("seen_before=2023-11-20T00:00:00Z")),
        ("last seen after".to_owned(), ours("seen_after=2023-11-25T12:00:00Z")),
        (
            "by a rare label, last seen before".to_owned(),
            ours("labels=lot%3Dl77&seen_before=2023-11-25T00:00:00Z"),
        ),
        ("by a rare label, never seen".to_owned(), ours("labels=lot%3Dl0&seen_before=2030-01-01T00:00:00Z")),
        (
            "by a label and a state that exclude each other".to_owned(),
            ours("labels=site%3Ds1&state=disabled"),
        ),
        (
            "by a label and a state, last seen, nobody".to_owned(),
            ours("labels=site%3Ds1&state=disabled&seen_after=2023-11-15T00:00:00Z"),
        ),
        ("by a short text that nobody holds".to_owned(), ours("text=zz&profile=demo")),
        ("by prefix".to_owned(), ours("name_prefix=d-7f")),
        ("by prefix, state and text".to_owned(), ours("name_prefix=d-7&state=expected&text=a0b1")),
        ("text that few hold".to_owned(), ours("text=a0b1")),
        ("text that most hold".to_owned(), ours("text=d-")),
        ("text that nobody holds".to_owned(), ours("text=nowhere")),
        ("text of a note".to_owned(), ours("text=hall+4711")),
    ];
    for (what, query) in [
        ("label", "labels=site%3Ds1"),
        ("state", "state=expected"),
        ("last seen", "seen_after=2023-11-15T00:00:00Z"),
    ] {
        let cursor = desk.deep(query)?;
        all.push((format!("by {what}, far down"), ours(&format!("{query}&cursor={cursor}"))));
    }
    let pages = [("first", 0), ("middle", middle), ("last", deep)];
    for (form, path) in [("devices", "/api/tenant/devices"), ("infos", "/api/deviceInfos/all")] {
        for order in ["createdTime", "name", "type", "label"] {
            for (place, page) in pages {
                let query = format!("{path}?pageSize=100&page={page}&sortProperty={order}&sortOrder=DESC");
                all.push((format!("ThingsBoard's {form} by {order}, {place} page"), same(&query)));
            }
        }
        for active in [true, false] {
            let query = format!("{path}?pageSize=100&page=0&sortProperty=name&active={active}");
            all.push((format!("ThingsBoard's {form} by name, active {active}"), same(&query)));
        }
        for (what, text) in [("few", "a0b1"), ("most", "d-"), ("some", "abc")] {
            let query = format!(
                "{path}?pageSize=100&page=0&sortProperty=createdTime&sortOrder=DESC&textSearch={text}"
            );
            all.push((format!("ThingsBoard's {form} with a text that {what} hold"), same(&query)));
        }
    }
    Ok(all)
}

/// Who asks, over one connection.
struct Desk {
    connection: HttpConnection,
    token: String,
}

impl Desk {
    fn get(&mut self, path: &str) -> Result<Value> {
        let bearer = format!("Bearer {}", self.token);
        let key = format!("ApiKey {}", self.token);
        let headers = [("Authorization", bearer.as_str()), ("X-Authorization", key.as_str())];
        let reply = self.connection.request("GET", path, &headers, b"")?;
        ensure!(reply.status == 200, "{path}: {}", reply.text());
        Ok(serde_json::from_slice(&reply.body)?)
    }

    fn measure(&mut self, asked: &Asked, rounds: u64) -> Result<Histogram<u64>> {
        let mut figures = Histogram::new(3)?;
        for round in 0..rounds {
            let path = match asked {
                Asked::Same(path) => path.clone(),
                Asked::Named(path) => format!("{path}{}", String::from_utf8_lossy(&name(1 + round * 31))),
            };
            let began = Instant::now();
            self.get(&path)?;
            figures.record(u64::try_from(began.elapsed().as_micros())?)?;
        }
        Ok(figures)
    }

    /// A cursor some hundred thousand devices down.
    fn deep(&mut self, query: &str) -> Result<String> {
        let mut cursor = String::new();
        for _ in 0..100 {
            let page = self.get(&format!("{API}/devices?limit=1000&{query}{cursor}"))?;
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={}", next.replace('/', "%2F"));
        }
        Ok(cursor.trim_start_matches("&cursor=").to_owned())
    }

    /// Until the index of texts has caught up, texts are looked for in all that is new.
    fn wait_for_texts(&mut self) -> Result<()> {
        let mut quick = 0;
        while quick < 5 {
            let began = Instant::now();
            self.get(&format!("{API}/devices?text=nowhere"))?;
            quick = if began.elapsed() < Duration::from_millis(5) { quick + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}
