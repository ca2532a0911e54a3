//! An attack: passwords and tokens guessed from many addresses of this machine.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::Result;
use serde_json::{Value, json};
use testkit::http::HttpConnection;

/// Addresses that guess.
pub const ADDRESSES: u32 = 1000;
/// What each of them tries: a password, then a token, and so on.
pub const TRIES: u32 = 10;
/// Addresses that guess at a time.
const TOGETHER: usize = 32;

/// The account whose password is guessed.
pub const OWNER: &str = "owner@example.org";

/// How often each status was answered.
#[derive(Debug, Default)]
pub struct Guesses {
    heard: Mutex<BTreeMap<u16, u32>>,
    next: AtomicU32,
}

impl Guesses {
    /// Lets all addresses try all they have, some at a time.
    ///
    /// # Errors
    /// If the server does not answer one of them.
    pub fn carry_out(&self, server: SocketAddr) -> Result<()> {
        thread::scope(|scope| {
            let guessers: Vec<_> = (0..TOGETHER).map(|_| scope.spawn(|| self.guess_on(server))).collect();
            for guesser in guessers {
                guesser.join().map_err(|_| anyhow::anyhow!("a guesser gave up"))??;
            }
            Ok(())
        })
    }

    /// How often each status was answered so far.
    #[must_use]
    pub fn heard(&self) -> BTreeMap<u16, u32> {
        self.heard.lock().map(|heard| heard.clone()).unwrap_or_default()
    }

    fn guess_on(&self, server: SocketAddr) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= ADDRESSES {
                return Ok(());
            }
            self.guess(number, server)?;
        }
    }

    fn guess(&self, number: u32, server: SocketAddr) -> Result<()> {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number + 1);
        let mut http = HttpConnection::open_from(source, server)?;
        for at in 0..TRIES {
            let status = if at % 2 == 0 {
                log_in(&mut http, &format!("guess {number} {at}"))?.0
            } else {
                let token = format!("Bearer mst_{number}x{at}");
                http.request("GET", "/api/muster/v1/devices", &[("Authorization", &token)], b"")?.status
            };
            if let Ok(mut heard) = self.heard.lock() {
                *heard.entry(status).or_default() += 1;
            }
        }
        Ok(())
    }
}

/// Signs the owner on: the status and the answer.
///
/// # Errors
/// If there is no answer.
pub fn log_in(http: &mut HttpConnection, password: &str) -> Result<(u16, Value)> {
    let body = json!({ "username": OWNER, "password": password }).to_string();
    let reply = http.post_json("/api/auth/login", &body)?;
    Ok((reply.status, serde_json::from_slice(&reply.body).unwrap_or_default()))
}
