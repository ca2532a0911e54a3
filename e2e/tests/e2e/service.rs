//! What a service has to stand: new certificates, a stop in the middle of work, clients that dawdle, and
//! configurations with mistakes in them.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use e2e::PATIENCE;
use e2e::device::{Group, Http};
use e2e::fleet::{self, Fleet};
use e2e::history;
use e2e::https::{Authority, Https, Identity};
use e2e::muster::ended;
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use rustix::process::Signal;
use serde_json::json;
use testkit::process::binary;
use testkit::wait::eventually;

// === Certificates ===

#[test]
fn a_new_certificate_is_shown_under_load_without_a_failed_request() -> Result<()> {
    let site = Site::start()?;
    let load = Load::start(&site);
    for by_signal in [true, true, true, false] {
        let identity = site.authority.identity()?;
        site.install(&identity)?;
        if by_signal {
            site.server.process().signal(Signal::HUP)?;
        }
        site.shows(&identity)?;
        load.goes_on()?;
    }
    load.stop()
}

#[test]
fn a_certificate_that_cannot_be_used_leaves_the_old_one_in_place() -> Result<()> {
    let site = Site::start()?;
    let shown = site.authority.connect(site.address())?.shown();
    fs::write(site.file("certificate.pem"), "no certificate")?;
    site.server.process().signal(Signal::HUP)?;
    site.server.process().wait_for_line(PATIENCE, |line| line.contains("certificate.pem"))?;
    let mut again = site.authority.connect(site.address())?;
    ensure!(again.shown() == shown);
    ensure!(again.http().get("/healthz")?.status == 200);
    Ok(())
}

/// A quickstart server that serves HTTPS too.
struct Site {
    server: Musterd,
    authority: Arc<Authority>,
}

impl Site {
    fn start() -> Result<Self> {
        let authority = Arc::new(Authority::new()?);
        let setup = Setup::serve("")?;
        let file = |name| setup.home().join(name);
        write_identity(setup.home(), &authority.identity()?)?;
        let setup = setup
            .clone()
            .setting("HTTPS__BIND", setup.address().https().to_string())
            .setting("HTTPS__CERTIFICATE", file("certificate.pem"))
            .setting("HTTPS__KEY", file("key.pem"));
        let server = setup.start()?;
        let profile = ["profile", "create", "site", "--strategy", "create-new"];
        let given = ["--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET];
        server.muster()?.ok(&[&profile[..], &given].concat())?;
        Ok(Self { server, authority })
    }

    fn address(&self) -> SocketAddr {
        self.server.address().https()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.server.setup().home().join(name)
    }

    fn install(&self, identity: &Identity) -> Result<()> {
        write_identity(self.server.setup().home(), identity)
    }

    fn shows(&self, identity: &Identity) -> Result<()> {
        let shown = || self.authority.connect(self.address()).map(|connection| connection.shown());
        eventually("the new certificate", PATIENCE, || match shown() {
            Ok(shown) if shown.as_ref() != Some(&identity.certificate) => None,
            other => Some(other.map(drop)),
        })?
    }
}

/// As an operator's tool does: beside, then in place.
fn write_identity(folder: &Path, identity: &Identity) -> Result<()> {
    for (name, text) in [("key.pem", &identity.key), ("certificate.pem", &identity.chain)] {
        let beside = folder.join(format!("{name}.new"));
        fs::write(&beside, text)?;
        fs::rename(beside, folder.join(name))?;
    }
    Ok(())
}

/// Devices that provision over HTTPS, three on a connection. Any request that fails fails the load.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    workers: Vec<thread::JoinHandle<Result<()>>>,
}

impl Load {
    fn start(site: &Site) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let worker = |number: u64| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            let (authority, address) = (Arc::clone(&site.authority), site.address());
            thread::spawn(move || {
                let mut devices = 0..;
                while !stop.load(Ordering::Relaxed) {
                    let mut connection = authority.connect(address)?;
                    for device in devices.by_ref().take(3) {
                        provision(&mut connection, &format!("load-{number}-{device}"))?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(())
            })
        };
        let workers = (0..6).map(worker).collect();
        Self { stop, done, workers }
    }

    fn goes_on(&self) -> Result<()> {
        let before = self.done.load(Ordering::Relaxed);
        eventually("the load", PATIENCE, || {
            let over = self.workers.iter().any(thread::JoinHandle::is_finished);
            (over || self.done.load(Ordering::Relaxed) > before + 20).then_some(())
        })
    }

    /// After the server's end: how many requests were answered before it.
    fn answered(self) -> u64 {
        for worker in self.workers {
            // It has ended in a connection that failed, as it must.
            let _ = worker.join();
        }
        self.done.load(Ordering::Relaxed)
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok(())
    }
}

fn provision(connection: &mut Https, name: &str) -> Result<()> {
    let ask = Group::new(SEED_KEY, SEED_SECRET).ask(name);
    let reply = connection.http().post_json("/api/v1/provision", &ask.to_string())?;
    ensure!(reply.status == 200 && reply.text().contains("SUCCESS"), "{reply:?}");
    Ok(())
}

// === Stopping ===

#[test]
fn a_stop_under_load_leaves_no_request_failed_or_half_done() -> Result<()> {
    let setup = Setup::quickstart()?;
    let server = setup.start()?;
    let others = server.operator()?.all("/devices")?.len();
    let group = Group::new(SEED_KEY, SEED_SECRET);
    let fleet = Fleet::start(setup.address(), &group, "stop", 8, 1);
    eventually("some load", PATIENCE, || (fleet.ledger().granted() > 100).then_some(()))?;
    server.stop()?;
    let promises = fleet.stop()?;

    let server = setup.start()?;
    fleet::check(&server, &promises)?;
    let devices = server.operator()?.all("/devices?limit=1000")?.len() - others;
    ensure!(devices == promises.len(), "{devices} devices, {} were told so", promises.len());
    let told: u64 = promises.iter().map(|promise| promise.values).sum();
    let stored: u64 = history::temperatures(setup.folder())?.values().sum();
    ensure!(stored == told, "{stored} values, {told} were acknowledged");
    Ok(())
}

#[test]
fn a_stop_under_load_by_https_leaves_no_request_half_done() -> Result<()> {
    let site = Site::start()?;
    let load = Load::start(&site);
    load.goes_on()?;
    let setup = site.server.setup().clone();
    site.server.stop()?;
    let answered = load.answered();
    let devices = setup.start()?.operator()?.all("/devices?limit=1000")?.len() as u64;
    ensure!(devices == answered, "{devices} devices, {answered} were told so");
    Ok(())
}

#[test]
fn after_a_stop_nobody_is_said_to_listen() -> Result<()> {
    let setup = Setup::quickstart()?;
    setup.start()?.stop()?;
    ensure!(!setup.folder().join("run/server.json").exists());
    setup.muster()?.fails(3, &["device", "list"])?;
    Ok(())
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() -> Result<()> {
    let setup = Setup::quickstart()?.setting("LOG__FILTER", "trace");
    let server = setup.launch(|command| {
        *command = with_a_full_log(command);
        Ok(())
    })?;
    server.wait_until_ready()?;
    let mut http = Http::open(setup.address().http())?;
    ensure!(http.provision(&Group::new(SEED_KEY, SEED_SECRET).ask("pump-17"))?.is_granted());
    server.stop()
}

/// The same command with its standard error on a full disk.
fn with_a_full_log(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" "$@" 2>/dev/full"#]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

// === Slow clients ===

/// Only the named limit can end a connection within a test's patience.
fn patient(but: &str) -> String {
    let mut limits = [
        ("http", "header_timeout_s", 3600),
        ("http", "body_timeout_s", 3600),
        ("http", "idle_timeout_s", 3600),
        ("https", "handshake_timeout_s", 600),
        ("mqtt", "connect_timeout_s", 600),
    ];
    for (section, key, limit) in &mut limits {
        if but == format!("{section}.{key}") {
            *limit = 1;
        }
    }
    let settings = limits.map(|(section, key, limit)| format!("{section}.{key} = {limit}\n"));
    settings.concat()
}

#[test]
fn a_slow_header_is_cut_at_its_limit() -> Result<()> {
    let server = Musterd::serve(&patient("http.header_timeout_s"))?;
    let mut kept = Http::open(server.address().http())?;
    still_answers(&mut kept)?;
    is_cut(server.address().http(), b"POST /api/v1/provision HTTP/1.1\r\nX-Slow: ", b'x')?;
    still_answers(&mut kept)
}

#[test]
fn a_slow_header_on_a_kept_connection_is_cut_at_its_limit() -> Result<()> {
    let server = Musterd::serve(&patient("http.header_timeout_s"))?;
    let first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nPOST /api/v1/provision HTTP/1.1\r\nX-Slow: ";
    is_cut(server.address().http(), first, b'x')
}

#[test]
fn a_slow_body_is_cut_at_its_limit() -> Result<()> {
    let server = Musterd::serve(&patient("http.body_timeout_s"))?;
    let mut kept = Http::open(server.address().http())?;
    still_answers(&mut kept)?;
    let head =
        b"POST /api/v1/provision HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{\"deviceName\":\"";
    is_cut(server.address().http(), head, b'x')?;
    still_answers(&mut kept)
}

#[test]
fn a_slow_connect_is_cut_at_its_limit() -> Result<()> {
    let server = Musterd::serve(&patient("mqtt.connect_timeout_s"))?;
    // CONNECT of 20,000 bytes, most of them a client id that does not end.
    is_cut(server.address().mqtt(), b"\x10\xa0\x9c\x01\x00\x04MQTT\x04\x02\x00\x3c\x4e\x00", b'x')
}

#[test]
fn a_client_that_says_nothing_is_cut_too() -> Result<()> {
    let server = Musterd::serve(&patient("mqtt.connect_timeout_s"))?;
    is_cut_silent(server.address().mqtt())?;
    let server = Musterd::serve(&patient("http.header_timeout_s"))?;
    is_cut_silent(server.address().http())
}

#[test]
fn a_slow_handshake_is_cut_at_its_limit() -> Result<()> {
    let site = Site::start()?;
    let setup = site.server.setup().clone().setting("HTTPS__HANDSHAKE_TIMEOUT_S", "1");
    drop(site);
    let server = setup.setting("HTTP__HEADER_TIMEOUT_S", "3600").start()?;
    // A ClientHello of 4,096 bytes that does not end.
    let hello = b"\x16\x03\x01\x10\x00\x01\x00\x0f\xfc\x03\x03";
    is_cut(server.address().https(), hello, 0)
}

/// Sends `first` and then one byte after the other, so that it is never idle, until the server closes.
fn is_cut(address: SocketAddr, first: &[u8], then: u8) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(first)?;
    drip(stream, || Some(then))
}

fn is_cut_silent(address: SocketAddr) -> Result<()> {
    drip(TcpStream::connect(address)?, || None)
}

fn drip(mut stream: TcpStream, next: impl Fn() -> Option<u8>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let began = Instant::now();
    let mut answer = [0; 4096];
    while began.elapsed() < PATIENCE {
        match stream.read(&mut answer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Ok(()),
        }
        if let Some(byte) = next()
            && stream.write_all(&[byte]).is_err()
        {
            return Ok(());
        }
    }
    Err(anyhow!("a slow client was never cut"))
}

fn still_answers(kept: &mut Http) -> Result<()> {
    let answer = kept.provision(&json!({"provisionDeviceKey": "k", "provisionDeviceSecret": "s"}))?;
    ensure!(!answer.is_granted());
    Ok(())
}

// === Configurations ===

#[test]
fn config_check_names_line_and_column_of_every_mistake() -> Result<()> {
    let mut files = 0;
    for entry in fs::read_dir(e2e::own("configs/broken"))? {
        let file = entry?.path();
        let text = fs::read_to_string(&file)?;
        let checked = config_check(&file)?;
        ensure!(checked.code == 1, "{}: {checked:?}", file.display());
        for expected in expectations(&text) {
            let (place, words) = expected.split_once(' ').unwrap_or((expected, ""));
            let place = format!("{}:{place}:", file.display());
            let told = format!("{}{}", checked.out, checked.err);
            let named = told.lines().any(|line| line.contains(&place) && line.contains(words));
            ensure!(named, "`{expected}` expected in:\n{told}");
        }
        files += 1;
    }
    ensure!(files >= 20, "only {files} broken files");
    Ok(())
}

#[test]
fn config_check_accepts_the_documented_defaults() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("musterd.toml");
    fs::copy(e2e::own("../crates/server/src/config.default.toml"), &file)?;
    let checked = config_check(&file)?;
    ensure!(checked.code == 0, "{checked:?}");
    Ok(())
}

fn config_check(file: &Path) -> Result<e2e::muster::Ended> {
    ended(Command::new(binary("musterd")?).args(["config", "check", "--config"]).arg(file))
}

/// The comment lines at the top: `# LINE:COLUMN words of the message`.
fn expectations(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map_while(|line| line.strip_prefix("# "))
}
