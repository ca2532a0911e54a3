//! The change feed: whoever goes away and comes back has missed nothing and hears nothing twice.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::muster::Muster;
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET};
use testkit::process::{Process, Stream};

#[test]
fn a_reader_that_comes_and_goes_hears_of_every_device_once() -> Result<()> {
    let server = Musterd::serve("")?;
    let muster = server.muster()?;
    let group = ["--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET];
    muster.ok(&[&["profile", "create", "pumps", "--strategy", "create-new"][..], &group].concat())?;
    let secret = server.setup().folder().join("keys/admin-secret");
    let mut reader = Command::new("python3");
    reader.arg(e2e::own("programs/read_events.py")).arg(server.address().http().to_string()).arg(secret);
    let reader = reader.args(["3000", "250"]).stdout(Stdio::piped()).spawn()?;
    let target = server.address().http().to_string();
    let fleet = ["simulate", "--wire", "thingsboard-http", "--devices", "3000", "--target", &target];
    muster.ok(&[&fleet[..], &group].concat())?;
    let output = reader.wait_with_output()?;
    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    let (visits, names) = text.split_once('\n').context("the number of visits")?;
    ensure!(visits.parse::<u32>()? >= 12, "it came only {visits} times");
    let mut heard: Vec<&str> = names.lines().collect();
    heard.sort_unstable();
    let listed = muster.ok(&["device", "list", "-o", "name"])?;
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();
    ensure!(heard == listed, "{} heard, {} listed", heard.len(), listed.len());
    Ok(())
}

#[test]
fn the_program_follows_over_a_restart_and_no_reader_keeps_the_server_from_stopping() -> Result<()> {
    let server = Musterd::serve("")?;
    let muster = server.muster()?;
    let mut following = Process::start(&mut muster.command(["events", "--follow", "-o", "json"]))?;
    // It hears of what happens after it has begun, whenever that is.
    let named = |name: &str| {
        let said = format!("\"name\":\"{name}\"");
        move |line: &str| line.contains(&said)
    };
    muster.ok(&["profile", "create", "before", "--strategy", "create-new"])?;
    let heard = testkit::wait::eventually("an event", PATIENCE, || {
        let name = format!("probe-{}", following.lines(Stream::Out).len());
        muster.run(&["device", "add", &name, "--profile", "before"]).ok()?;
        following.lines(Stream::Out).iter().any(|line| line.contains("probe-")).then_some(())
    });
    heard?;
    let setup = server.setup().clone();
    server.stop()?;
    let server = setup.start()?;
    let muster = server.muster()?;
    muster.ok(&["device", "add", "after-the-restart", "--profile", "before"])?;
    following.wait_for_line(PATIENCE, named("after-the-restart"))?;
    following.kill()?;
    let all = muster.ok(&["events", "-o", "json"])?;
    ensure!(all.contains("profile-created") && all.contains("after-the-restart"), "{all}");
    Ok(())
}

#[test]
fn whoever_follows_hears_in_every_format_and_outlasts_a_balancer_that_has_nobody_to_ask() -> Result<()> {
    for (format, heard) in [("csv", "k2,"), ("name", "1.2"), ("table", "k2"), ("json", "\"1.2\"")] {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let balancer = thread::spawn(move || -> Result<()> {
            for number in 0..4 {
                let told = match number {
                    0 => stream_of("1.1", "k1"),
                    3 => stream_of("1.2", "k2"),
                    _ => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        .into(),
                };
                answer(&mut listener.accept()?.0, &told)?;
            }
            Ok(())
        });
        let token = tempfile::tempdir()?;
        let file = token.path().join("token");
        std::fs::write(&file, "mst_any")?;
        let muster = Muster::with_token(&url, &file)?;
        let mut following = Process::start(&mut muster.command(["events", "--follow", "-o", format]))?;
        following.wait_for_line(PATIENCE, |line| line.contains(heard))?;
        let heading = following.lines(Stream::Out).first().cloned().unwrap_or_default();
        ensure!(format != "csv" || heading.starts_with("time,what,who,"), "{heading}");
        following.kill()?;
        balancer.join().map_err(|_| anyhow::anyhow!("the balancer gave up"))??;
    }
    Ok(())
}

/// A stream of one event, which ends behind it.
fn stream_of(place: &str, kind: &str) -> String {
    let event = format!("{{\"place\":\"{place}\",\"at\":\"t\",\"kind\":\"{kind}\",\"actor\":\"a\"}}");
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nid: {place}\ndata: {event}\n\n"
    )
}

fn answer(connection: &mut TcpStream, told: &str) -> Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && connection.read(&mut byte)? > 0 {
        head.push(byte[0]);
    }
    Ok(connection.write_all(told.as_bytes())?)
}
