//! A careful neighbour for connectors and hooks; see `testkit::receiver`.
//!
//! `webhook-receiver CALLS ORDERS FILE SECRET…`: two addresses, the file that everything is kept in before it is
//! answered, and the files of the secrets that calls may be signed with.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its caller reads them")]

mod door;
mod http;
mod ledger;
mod signature;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::receiver::{How, Misbehaviour};

use door::Door;
use http::{Connection, Request};
use ledger::{Answer, Ledger};
use signature::Secrets;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [calls, orders, file, secrets @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: webhook-receiver CALLS ORDERS FILE SECRET…");
    };
    let receiver = Arc::new(Receiver::open(Path::new(file), secrets)?);
    let caller = Arc::clone(&receiver);
    let entrance = Arc::new(Door::new(calls.parse()?, move |stream| caller.serve(stream)));
    entrance.open().context("cannot listen for calls")?;
    let office = {
        let entrance = Arc::clone(&entrance);
        Door::new(orders.parse()?, move |stream| receiver.obey(stream, &entrance))
    };
    office.open().context("cannot listen for orders")?;
    println!("ready");
    // Its end comes from outside.
    loop {
        thread::park();
    }
}

struct Receiver {
    kept: Mutex<Kept>,
    secrets: Secrets,
    mood: Mutex<Mood>,
    healed: Condvar,
    question: Mutex<Value>,
    calls: AtomicU64,
}

/// How it behaves, and how often that was changed from outside.
#[derive(Default)]
struct Mood {
    bad: Option<Misbehaviour>,
    changes: u64,
}

/// What it knows, and the file that it knows it from.
struct Kept {
    ledger: Ledger,
    file: File,
}

impl Kept {
    /// Reads the file; a last line that a kill has cut short was not answered, and goes.
    fn open(path: &Path) -> Result<Kept> {
        let bytes = fs::read(path).unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut ledger = Ledger::default();
        for line in bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            apply(&mut ledger, &serde_json::from_slice(line)?);
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(whole as u64)?;
        Ok(Kept { ledger, file })
    }

    /// Writes it down, then does it.
    fn keep(&mut self, line: &Value) -> Result<Answer> {
        self.file.write_all(format!("{line}\n").as_bytes())?;
        Ok(apply(&mut self.ledger, line))
    }
}

fn apply(ledger: &mut Ledger, line: &Value) -> Answer {
    match line["violation"].as_str() {
        Some(what) => {
            ledger.violated(what);
            (401, json!({"error": what}))
        }
        None => ledger.take(line),
    }
}

// === Calls ===

impl Receiver {
    fn open(file: &Path, secrets: &[String]) -> Result<Receiver> {
        let secrets: Vec<Vec<u8>> = secrets.iter().map(fs::read).collect::<Result<_, _>>()?;
        Ok(Receiver {
            kept: Mutex::new(Kept::open(file)?),
            secrets: Secrets::new(secrets.iter().map(|secret| secret.trim_ascii_end())),
            mood: Mutex::default(),
            healed: Condvar::new(),
            question: Mutex::new(json!({"allow": true})),
            calls: AtomicU64::new(0),
        })
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(mut connection) = Connection::new(stream) else { return };
        while let Some(request) = connection.read() {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let event = request.header("muster-event").unwrap_or_default().to_owned();
            let answered = match self.misbehaviour(&event) {
                None => self.work(&request).map(|(status, body)| reply(&mut connection, status, &body)),
                Some(bad) => self.misbehave(&bad, &request, &mut connection),
            };
            match answered {
                Ok(true) => {}
                Ok(false) => return,
                // What cannot be kept is not answered.
                Err(error) => return eprintln!("error: {error:#}"),
            }
        }
    }

    /// Checks the call, keeps it, and says what to answer.
    fn work(&self, request: &Request) -> Result<Answer> {
        let line = match self.checked(request) {
            Ok(body) => body,
            Err(violation) => json!({"violation": violation}),
        };
        let answer = lock(&self.kept).keep(&line)?;
        match line["event"].as_str() {
            Some("provisioning.question") => Ok((200, lock(&self.question).clone())),
            Some("device.call") => Ok((
                200,
                json!({"device": line["device"]["name"], "method": line["method"], "params": line["params"]}),
            )),
            _ => Ok(answer),
        }
    }

    fn checked(&self, request: &Request) -> Result<Value, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(fault) = self.secrets.fault(request.header("muster-signature"), &request.body, now) {
            return Err(fault.to_owned());
        }
        let body: Value = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
        for (header, field) in [("muster-event", "event"), ("muster-idempotency-key", "key")] {
            if request.header(header) != body[field].as_str() {
                return Err(format!("{header} is not what the body says"));
            }
        }
        Ok(body)
    }

    /// Whether it is the turn of a misbehaviour, which may be its last.
    fn misbehaviour(&self, event: &str) -> Option<Misbehaviour> {
        let mut mood = lock(&self.mood);
        let bad = mood.bad.clone().filter(|bad| bad.event.as_ref().is_none_or(|only| only == event))?;
        if let Some(times) = mood.bad.as_mut().and_then(|bad| bad.times.as_mut()) {
            *times = times.saturating_sub(1);
            if *times == 0 {
                mood.bad = None;
            }
        }
        Some(bad)
    }

    /// Whether the connection goes on.
    fn misbehave(&self, bad: &Misbehaviour, request: &Request, connection: &mut Connection) -> Result<bool> {
        let right =
            if bad.work || matches!(bad.how, How::Slow(_)) { Some(self.work(request)?) } else { None };
        let answered = match &bad.how {
            How::Down | How::Cut => return Ok(false),
            How::Die => std::process::exit(1),
            How::Hang => {
                self.wait_until_healed();
                return Ok(false);
            }
            How::Slow(ms) => {
                thread::sleep(Duration::from_millis(*ms));
                let (status, body) = right.context("it has worked")?;
                return Ok(reply(connection, status, &body));
            }
            How::Late(ms) => {
                thread::sleep(Duration::from_millis(*ms));
                let (status, body) = self.work(request)?;
                return Ok(reply(connection, status, &body));
            }
            How::Status(code, wait) => connection.answer(*code, *wait, b"{\"error\": \"misbehaving\"}"),
            How::Garbage => connection.answer(200, None, b"<html>It works!</html>"),
            How::Huge => connection.answer(200, None, &vec![b' '; 1 << 20]),
            How::WrongType => connection.answer(200, None, b"{\"external_id\": 7, \"allow\": \"yes\"}"),
        };
        Ok(answered.is_ok())
    }

    fn wait_until_healed(&self) {
        let mut mood = lock(&self.mood);
        let before = mood.changes;
        while mood.changes == before {
            mood = self.healed.wait(mood).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn reply(connection: &mut Connection, status: u16, body: &Value) -> bool {
    connection.answer(status, None, body.to_string().as_bytes()).is_ok()
}

// === Orders ===

impl Receiver {
    fn obey(&self, stream: TcpStream, entrance: &Door) {
        let Ok(mut connection) = Connection::new(stream) else { return };
        while let Some(request) = connection.read() {
            let (status, body) = match self.obeyed(&request, entrance) {
                Ok(body) => (200, body),
                Err(error) => (400, json!({"error": format!("{error:#}")})),
            };
            if !reply(&mut connection, status, &body) {
                return;
            }
        }
    }

    fn obeyed(&self, request: &Request, entrance: &Door) -> Result<Value> {
        let ledger = || lock(&self.kept);
        Ok(match (request.method.as_str(), request.target.as_str()) {
            ("GET", "/devices") => json!(ledger().ledger.devices()),
            ("GET", "/deliveries") => json!(ledger().ledger.deliveries()),
            ("GET", "/violations") => json!(ledger().ledger.violations()),
            ("GET", "/counts") => json!(ledger().ledger.counts(self.calls.load(Ordering::Relaxed))),
            ("POST", "/misbehave") => {
                let bad: Misbehaviour = serde_json::from_slice(&request.body)?;
                let down = bad.how == How::Down;
                self.feel(Some(bad));
                if down {
                    entrance.close();
                }
                json!({})
            }
            ("POST", "/heal") => {
                self.feel(None);
                entrance.open()?;
                json!({})
            }
            ("POST", "/answer") => {
                *lock(&self.question) = serde_json::from_slice(&request.body)?;
                json!({})
            }
            (method, target) => anyhow::bail!("{method} {target} means nothing here"),
        })
    }

    fn feel(&self, bad: Option<Misbehaviour>) {
        let mut mood = lock(&self.mood);
        *mood = Mood { bad, changes: mood.changes + 1 };
        self.healed.notify_all();
    }
}

/// A poisoned lock guards what is in the file all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
