//! The load generator: one thread, sockets that never block, and as little work for each exchange as there
//! can be, because it shares the processors with what it measures.
//!
//! What is said over the sockets is a [`Talk`]'s business; when it is said, a [`Plan`]'s. A plan without a
//! pace starts the next exchange of a connection as soon as the last one is over. With a pace the exchanges
//! have times at which they should start, and their latency counts from then: a server that is late cannot
//! make the load wait for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};

/// How long an exchange may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who talks to whom, how often and for how long.
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// How many connections are open at a time.
    pub connections: usize,
    /// Exchanges a second; `None` is as many as there can be.
    pub pace: Option<f64>,
    /// Whether each exchange has a connection of its own.
    pub renew: bool,
    /// Time at the beginning that is not counted.
    pub warm_up: Duration,
    /// Time that is counted.
    pub duration: Duration,
}

impl Plan {
    /// As many exchanges as there can be over kept connections, counted after half a second.
    pub fn kept(address: SocketAddr, connections: usize, duration: Duration) -> Plan {
        let warm_up = Duration::from_millis(500);
        Plan { address, connections, pace: None, renew: false, warm_up, duration }
    }

    /// The same with a new connection for each exchange.
    pub fn renewed(self) -> Plan {
        Plan { renew: true, ..self }
    }

    /// The same at so many exchanges a second.
    pub fn paced(self, per_second: f64) -> Plan {
        Plan { pace: Some(per_second), ..self }
    }
}

/// One side of a conversation.
pub trait Talk {
    /// Begins an exchange: writes what is said first.
    fn begin(&mut self, connection: usize, out: &mut Vec<u8>);

    /// Looks at all that has come since the last `Said` or the beginning.
    fn hear(&mut self, connection: usize, heard: &[u8], out: &mut Vec<u8>) -> Heard;
}

/// What came of listening.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is not whole yet.
    Part,
    /// It was whole, and the next words are in `out`.
    Said,
    /// The exchange is over; words of farewell may be in `out`.
    Over,
    /// It was whole and not what was wanted.
    Wrong,
}

/// What a run came to.
pub struct Figures {
    /// Exchanges that ended well in the counted time.
    pub done: u64,
    /// Exchanges that ended well, those of the warm-up among them.
    pub all: u64,
    /// Exchanges that did not end well.
    pub failed: u64,
    /// What the first of those was told.
    pub complaint: Option<String>,
    /// The counted time.
    pub elapsed: Duration,
    /// Microseconds from the (intended) beginning to the end of each.
    pub latency_us: Histogram<u64>,
}

impl Figures {
    /// Exchanges a second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64()
    }

    /// A quantile of the latency in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// The figures, if every exchange ended well.
    ///
    /// # Errors
    /// With the first complaint, if one did not.
    pub fn whole(self) -> Result<Figures> {
        if self.failed > 0 {
            let of = self.failed + self.all;
            bail!("{} of {of} exchanges failed: {}", self.failed, self.complaint.unwrap_or_default());
        }
        Ok(self)
    }
}

/// Carries a plan out.
///
/// # Errors
/// If the server closes a connection, cannot be reached, or keeps silent for half a minute.
pub fn run(plan: &Plan, talk: &mut impl Talk) -> Result<Figures> {
    Run::new(plan, talk)?.carry_out()
}

struct Run<'a, T> {
    plan: &'a Plan,
    talk: &'a mut T,
    epoll: rustix::fd::OwnedFd,
    lines: Vec<Line>,
    idle: Vec<usize>,
    started: u64,
    from: Instant,
    counted_from: Instant,
    until: Instant,
    figures: Figures,
}

/// One connection and what is under way on it.
struct Line {
    stream: TcpStream,
    heard: Vec<u8>,
    since: Instant,
}

impl<'a, T: Talk> Run<'a, T> {
    fn new(plan: &'a Plan, talk: &'a mut T) -> Result<Run<'a, T>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let now = Instant::now();
        let mut run = Run {
            plan,
            talk,
            epoll,
            lines: Vec::with_capacity(plan.connections),
            idle: (0..plan.connections).collect(),
            started: 0,
            from: now,
            counted_from: now + plan.warm_up,
            until: now + plan.warm_up + plan.duration,
            figures: Figures {
                done: 0,
                all: 0,
                failed: 0,
                complaint: None,
                elapsed: plan.duration,
                latency_us: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            },
        };
        for index in 0..plan.connections {
            let line = run.connect(index)?;
            run.lines.push(line);
        }
        Ok(run)
    }

    /// On a loopback address a blocking connect is over at once.
    fn connect(&self, index: usize) -> Result<Line> {
        let stream = TcpStream::connect(self.plan.address).context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        if self.plan.renew {
            // Without this the machine runs out of client ports within seconds.
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        Ok(Line { stream, heard: Vec::with_capacity(1024), since: Instant::now() })
    }

    fn carry_out(mut self) -> Result<Figures> {
        let mut events = Vec::with_capacity(256);
        loop {
            let now = Instant::now();
            if now >= self.until {
                return Ok(self.figures);
            }
            self.begin_what_is_due(now)?;
            self.await_words(now, &mut events)?;
            for event in events.drain(..) {
                self.listen(event.data.u64() as usize)?;
            }
        }
    }

    fn begin_what_is_due(&mut self, now: Instant) -> Result<()> {
        while let Some(&index) = self.idle.last() {
            let Some(due) = self.next_due(now) else { return Ok(()) };
            self.idle.pop();
            self.started += 1;
            self.begin(index, due)?;
        }
        Ok(())
    }

    /// When the next exchange should have begun, if that is not in the future.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let due = self.due_at().unwrap_or(now);
        (due <= now).then_some(due)
    }

    fn due_at(&self) -> Option<Instant> {
        self.plan.pace.map(|pace| self.from + Duration::from_secs_f64(self.started as f64 / pace))
    }

    fn begin(&mut self, index: usize, since: Instant) -> Result<()> {
        if self.plan.renew {
            self.lines[index] = self.connect(index)?;
        }
        let mut out = Vec::with_capacity(512);
        self.talk.begin(index, &mut out);
        let line = &mut self.lines[index];
        line.heard.clear();
        line.since = since;
        say(&line.stream, &out)
    }

    fn await_words(&self, now: Instant, events: &mut Vec<epoll::Event>) -> Result<()> {
        let due = if self.idle.is_empty() { None } else { self.due_at() };
        let wait = due.unwrap_or(self.until).min(self.until).saturating_duration_since(now).min(PATIENCE);
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn listen(&mut self, index: usize) -> Result<()> {
        let mut bytes = [0; 4096];
        let line = &mut self.lines[index];
        match line.stream.read(&mut bytes) {
            Ok(0) => bail!("the server closed a connection; it last said: {}", shown(&line.heard)),
            Ok(count) => line.heard.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("a connection broke"),
        }
        self.react(index)
    }

    fn react(&mut self, index: usize) -> Result<()> {
        let line = &mut self.lines[index];
        let mut out = Vec::new();
        let heard = self.talk.hear(index, &line.heard, &mut out);
        if !out.is_empty() {
            say(&line.stream, &out)?;
        }
        match heard {
            Heard::Part => Ok(()),
            Heard::Said => {
                line.heard.clear();
                Ok(())
            }
            Heard::Over => self.over(index, true),
            Heard::Wrong => self.over(index, false),
        }
    }

    fn over(&mut self, index: usize, well: bool) -> Result<()> {
        let now = Instant::now();
        let line = &self.lines[index];
        if !well {
            self.figures.failed += 1;
            self.figures.complaint.get_or_insert_with(|| shown(&line.heard));
        } else {
            self.figures.all += 1;
            if now >= self.counted_from && now < self.until {
                self.figures.done += 1;
                let micros = now.saturating_duration_since(line.since).as_micros() as u64;
                self.figures.latency_us.record(micros.max(1))?;
            }
        }
        match self.next_due(now) {
            Some(due) => {
                self.started += 1;
                self.begin(index, due)
            }
            None => {
                self.idle.push(index);
                Ok(())
            }
        }
    }
}

/// Requests are far smaller than a socket's buffer: what does not fit at once is an error.
fn say(mut stream: &TcpStream, words: &[u8]) -> Result<()> {
    stream.write_all(words).context("cannot write to the server")
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
