//! Ten thousand wrong passwords and tokens from a thousand addresses: nobody gets in, and the owner does.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use e2e::musterd::Setup;
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, bind, connect, socket};
use serde_json::{Value, json};
use testkit::http::HttpConnection;

/// Addresses that guess.
const ADDRESSES: u32 = 1000;
/// What each of them tries: a password, then a token, and so on.
const TRIES: u32 = 10;
/// Addresses that guess at a time.
const TOGETHER: usize = 32;
const PASSWORD: &str = "correct horse battery staple";

/// A connection from an address of this machine's choice.
fn from(source: Ipv4Addr, server: SocketAddr) -> Result<HttpConnection> {
    let opened = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&opened, &SocketAddrAny::from(SocketAddr::from((source, 0))))?;
    connect(&opened, &SocketAddrAny::from(server))?;
    let stream = TcpStream::from(opened);
    stream.set_nodelay(true)?;
    Ok(HttpConnection::over(stream, &server.to_string()))
}

fn log_in(http: &mut HttpConnection, password: &str) -> Result<(u16, Value)> {
    let body = json!({ "username": "owner@example.org", "password": password }).to_string();
    let reply = http.post_json("/api/auth/login", &body)?;
    Ok((reply.status, serde_json::from_slice(&reply.body).unwrap_or_default()))
}

/// How often each status was heard.
#[derive(Default)]
struct Heard(Mutex<BTreeMap<u16, u32>>);

impl Heard {
    fn note(&self, status: u16) {
        if let Ok(mut heard) = self.0.lock() {
            *heard.entry(status).or_default() += 1;
        }
    }

    fn guess(&self, number: u32, server: SocketAddr) -> Result<()> {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number + 1);
        let mut http = from(source, server)?;
        for at in 0..TRIES {
            let status = if at % 2 == 0 {
                log_in(&mut http, &format!("guess {number} {at}"))?.0
            } else {
                let token = format!("Bearer mst_{number}x{at}");
                http.request("GET", "/api/muster/v1/devices", &[("Authorization", &token)], b"")?.status
            };
            self.note(status);
        }
        Ok(())
    }
}

#[test]
fn ten_thousand_guesses_from_a_thousand_addresses_open_nothing_and_leave_the_owner_able_to_sign_on()
-> Result<()> {
    let server = Setup::quickstart()?.start()?;
    let file = server.setup().home().join("password");
    fs::write(&file, PASSWORD)?;
    let file = file.to_str().context("no text")?;
    let add = ["operator", "add", "owner@example.org", "--role", "admin", "--password-file", file];
    server.muster()?.ok(&add)?;
    let address = server.address().http();
    let (heard, next, over) = (Heard::default(), AtomicU32::new(0), AtomicBool::new(false));
    let owners = thread::scope(|scope| -> Result<u32> {
        let guessers: Vec<_> = (0..TOGETHER)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= ADDRESSES {
                            return Ok(());
                        }
                        heard.guess(number, address)?;
                    }
                })
            })
            .collect();
        let owner = scope.spawn(|| -> Result<u32> {
            let mut times = 0;
            // Each time from another address, as if the owner were travelling.
            while !over.load(Ordering::Relaxed) {
                let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 2, 0, 1)) + times);
                let (status, answer) = log_in(&mut from(source, address)?, PASSWORD)?;
                ensure!(status == 200 && answer["token"].is_string(), "{status}: {answer}");
                times += 1;
            }
            Ok(times)
        });
        let guessed: Vec<_> = guessers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        let owners = owner.join().map_err(|_| anyhow::anyhow!("the owner gave up"))??;
        for result in guessed {
            result.map_err(|_| anyhow::anyhow!("a guesser gave up"))??;
        }
        Ok(owners)
    })?;
    ensure!(owners > 0, "the owner never signed on");
    let heard = heard.0.into_inner().unwrap_or_default();
    ensure!(heard.values().sum::<u32>() == ADDRESSES * TRIES, "{heard:?}");
    ensure!(heard.keys().all(|status| [401, 429].contains(status)), "{heard:?}");
    ensure!(heard.contains_key(&429), "nobody was slowed down: {heard:?}");
    server.stop()
}
