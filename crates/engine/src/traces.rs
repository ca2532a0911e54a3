//! What single devices send and are told, kept for an operator who looks for the reason.
//!
//! A trace lives in the memory of one server and is gone after its time: what devices say is nobody's archive. Whoever
//! hands an exchange over has taken its secrets out.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{DeviceKey, Origin, Refusal, TenantId, Timestamp};
use parking_lot::Mutex;

use crate::ports::Clock;

/// Most traces at a time, of all tenants and of one.
const MOST_TRACES: usize = 32;
const MOST_OF_TENANT: usize = 8;
/// Exchanges that a trace keeps, and bytes of text in them: the newest.
const MOST_EXCHANGES: usize = 500;
const MOST_BYTES: usize = 1 << 20;
/// Most characters of a packet that are kept.
const MOST_CHARS_OF_PACKET: usize = 4096;
/// How long an ended trace can be read, ms.
const READABLE_MS: u64 = 60 * 60 * 1000;
/// Devices whose names are remembered.
const MOST_NAMES: usize = 10_000;

/// A packet and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When it was over.
    pub at: Timestamp,
    /// The address of the device.
    pub source: IpAddr,
    /// The wire it spoke.
    pub wire: &'static str,
    /// What sort of packet, in the wire's own words, such as `POST /api/v1/provision`.
    pub packet: String,
    /// What the device sent, without its secrets; empty where the server spoke first.
    pub sent: String,
    /// What came of it.
    pub decision: Decision,
    /// What the device was told, without its secrets.
    pub told: String,
}

/// What came of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was granted, or taken.
    Accepted,
    /// It was refused.
    Refused(Refusal),
    /// The wire alone said no, in its own words.
    Rejected(String),
}

/// A trace, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceView {
    /// The registration id of the device.
    pub name: String,
    /// Until when it is kept up.
    pub until: Timestamp,
    /// How many exchanges are kept.
    pub exchanges: u64,
    /// How many older ones are not kept any more.
    pub dropped: u64,
}

struct Trace {
    tenant: TenantId,
    /// Whether it hears of requests that belong to no tenant, too.
    by_server: bool,
    name: String,
    until: Timestamp,
    exchanges: VecDeque<Kept>,
    bytes: usize,
    dropped: u64,
}

struct Kept {
    exchange: Exchange,
    /// Whether it belongs to no tenant, and is for operators of the server alone.
    nobodys: bool,
}

/// The traces of this server.
pub struct Traces {
    clock: Arc<dyn Clock>,
    any: AtomicBool,
    kept: Mutex<Vec<Trace>>,
    /// What devices that speak while there are traces are called, so that each is looked up once.
    names: Mutex<HashMap<DeviceKey, Arc<str>>>,
}

impl Traces {
    /// None.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Traces {
        Traces { clock, any: AtomicBool::new(false), kept: Mutex::default(), names: Mutex::default() }
    }

    /// Whether there is any trace: all that a request costs as long as there is none.
    pub fn is_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Whether a device of the tenant is traced now.
    pub fn is_any_of(&self, tenant: TenantId) -> bool {
        let now = self.clock.now();
        self.is_any() && self.kept.lock().iter().any(|trace| trace.tenant == tenant && now < trace.until)
    }

    /// Whether the device of that name is traced now. `tenant` is `None` where a request belongs to none.
    pub fn hears(&self, tenant: Option<TenantId>, name: &str) -> bool {
        let now = self.clock.now();
        self.is_any() && self.kept.lock().iter().any(|trace| trace.hears(tenant, name, now))
    }

    /// What a device is called, where that was looked up before.
    pub fn called(&self, device: DeviceKey) -> Option<Arc<str>> {
        self.names.lock().get(&device).cloned()
    }

    /// Remembers what a device is called.
    pub fn remember(&self, device: DeviceKey, name: &str) -> Arc<str> {
        let name: Arc<str> = name.into();
        let mut names = self.names.lock();
        if names.len() < MOST_NAMES {
            names.insert(device, Arc::clone(&name));
        }
        name
    }

    /// Keeps an exchange where the device is traced. `tenant` is `None` where the request belongs to none.
    pub fn note(&self, tenant: Option<TenantId>, name: &str, origin: Origin, packet: &str, what: Noted) {
        let now = self.clock.now();
        let exchange = Exchange {
            at: now,
            source: origin.source,
            wire: origin.wire.name(),
            packet: shortened(packet.to_owned()),
            sent: shortened(what.sent),
            decision: what.decision,
            told: shortened(what.told),
        };
        for trace in self.kept.lock().iter_mut().filter(|trace| trace.hears(tenant, name, now)) {
            trace.keep(Kept { exchange: exchange.clone(), nobodys: tenant.is_none() });
        }
    }

    /// Begins a trace, or lets one that is there go on until then. Returns whether there was room.
    pub(crate) fn begin(&self, tenant: TenantId, by_server: bool, name: &str, until: Timestamp) -> bool {
        let now = self.clock.now();
        let mut kept = self.living();
        let is_full = |kept: &[Trace]| {
            let of_tenant = kept.iter().filter(|trace| trace.tenant == tenant).count();
            kept.len() >= MOST_TRACES || of_tenant >= MOST_OF_TENANT
        };
        if let Some(trace) = kept.iter_mut().find(|trace| trace.is(tenant, name)) {
            trace.until = until;
            trace.by_server |= by_server;
            return true;
        }
        if is_full(&kept) {
            kept.retain(|trace| now < trace.until);
        }
        if is_full(&kept) {
            return false;
        }
        kept.push(Trace::new(tenant, by_server, name, until));
        self.any.store(true, Ordering::Relaxed);
        true
    }

    /// Ends a trace and forgets what it kept. Returns whether there was one.
    pub(crate) fn end(&self, tenant: TenantId, name: &str) -> bool {
        let mut kept = self.living();
        let before = kept.len();
        kept.retain(|trace| !trace.is(tenant, name));
        self.settle(&kept);
        kept.len() < before
    }

    /// The tenant's traces.
    pub(crate) fn of(&self, tenant: TenantId) -> Vec<TraceView> {
        self.living().iter().filter(|trace| trace.tenant == tenant).map(Trace::view).collect()
    }

    /// What a trace has kept, the oldest first; what belongs to no tenant only for operators of the server.
    pub(crate) fn exchanges(&self, tenant: TenantId, name: &str, by_server: bool) -> Option<Vec<Exchange>> {
        let kept = self.living();
        let trace = kept.iter().find(|trace| trace.is(tenant, name))?;
        let shown = trace.exchanges.iter().filter(|kept| by_server || !kept.nobodys);
        Some(shown.map(|kept| kept.exchange.clone()).collect())
    }

    fn living(&self) -> parking_lot::MutexGuard<'_, Vec<Trace>> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        kept.retain(|trace| now < trace.until.plus_ms(READABLE_MS));
        self.settle(&kept);
        kept
    }

    fn settle(&self, kept: &[Trace]) {
        self.any.store(!kept.is_empty(), Ordering::Relaxed);
        if kept.is_empty() {
            self.names.lock().clear();
        }
    }
}

/// The texts of an exchange, without secrets, and what came of it.
#[derive(Clone, Debug)]
pub struct Noted {
    /// See [`Exchange::sent`].
    pub sent: String,
    /// See [`Exchange::decision`].
    pub decision: Decision,
    /// See [`Exchange::told`].
    pub told: String,
}

impl Trace {
    fn new(tenant: TenantId, by_server: bool, name: &str, until: Timestamp) -> Trace {
        let (name, exchanges) = (name.to_owned(), VecDeque::new());
        Trace { tenant, by_server, name, until, exchanges, bytes: 0, dropped: 0 }
    }

    fn is(&self, tenant: TenantId, name: &str) -> bool {
        self.tenant == tenant && self.name == name
    }

    fn hears(&self, tenant: Option<TenantId>, name: &str, now: Timestamp) -> bool {
        now < self.until && self.name == name && tenant.map_or(self.by_server, |tenant| tenant == self.tenant)
    }

    fn keep(&mut self, kept: Kept) {
        self.bytes += kept.bytes();
        self.exchanges.push_back(kept);
        while self.exchanges.len() > MOST_EXCHANGES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.exchanges.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.dropped += 1;
        }
    }

    fn view(&self) -> TraceView {
        let exchanges = self.exchanges.len() as u64;
        TraceView { name: self.name.clone(), until: self.until, exchanges, dropped: self.dropped }
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        let Exchange { packet, sent, told, .. } = &self.exchange;
        packet.len() + sent.len() + told.len()
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(MOST_CHARS_OF_PACKET) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Wire;

    struct Hand(Mutex<Timestamp>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            *self.0.lock()
        }
    }

    fn traces() -> (Arc<Hand>, Traces) {
        let hand = Arc::new(Hand(Mutex::new(Timestamp(0))));
        (Arc::clone(&hand), Traces::new(hand))
    }

    fn tell(traces: &Traces, tenant: Option<u64>, name: &str, sent: &str) {
        let origin = Origin { source: [127, 0, 0, 1].into(), wire: Wire::ThingsboardHttp };
        let what = Noted { sent: sent.to_owned(), decision: Decision::Accepted, told: String::new() };
        traces.note(tenant.map(TenantId), name, origin, "POST", what);
    }

    fn sent(traces: &Traces, tenant: u64, by_server: bool) -> Vec<String> {
        let kept = traces.exchanges(TenantId(tenant), "pump", by_server).unwrap_or_default();
        kept.into_iter().map(|exchange| exchange.sent).collect()
    }

    #[test]
    fn a_trace_hears_of_its_own_device_in_its_time_and_can_be_read_for_an_hour_more() {
        let (hand, traces) = traces();
        assert!(!traces.is_any());
        assert!(traces.begin(TenantId(1), false, "pump", Timestamp(1000)));
        tell(&traces, Some(1), "pump", "own");
        tell(&traces, Some(1), "valve", "another's");
        tell(&traces, Some(2), "pump", "another tenant's");
        tell(&traces, None, "pump", "nobody's");
        *hand.0.lock() = Timestamp(1000);
        tell(&traces, Some(1), "pump", "late");
        assert!(!traces.is_any_of(TenantId(1)));
        assert_eq!(sent(&traces, 1, true), ["own"]);
        assert_eq!(traces.of(TenantId(2)), []);
        *hand.0.lock() = Timestamp(1000).plus_ms(READABLE_MS);
        assert_eq!(traces.of(TenantId(1)), []);
        assert!(!traces.is_any());
    }

    #[test]
    fn only_an_operator_of_the_server_hears_of_requests_that_are_no_tenants() {
        let (_, traces) = traces();
        traces.begin(TenantId(1), true, "pump", Timestamp(1));
        tell(&traces, None, "pump", "nobody's");
        assert_eq!(sent(&traces, 1, true), ["nobody's"]);
        assert_eq!(sent(&traces, 1, false), [""; 0]);
    }

    #[test]
    fn what_traces_hold_is_bounded() {
        let (hand, traces) = traces();
        let begin = |tenant: u64, at: usize| {
            traces.begin(TenantId(tenant), false, &format!("pump-{at}"), Timestamp(10))
        };
        assert!((0..MOST_OF_TENANT).all(|at| begin(1, at)));
        assert!(!begin(1, MOST_OF_TENANT) && begin(1, 0), "one too many, and one that is there");
        assert!((2..=4).all(|tenant| (0..MOST_OF_TENANT).all(|at| begin(tenant, at))));
        assert!(!begin(5, 0), "too many of all");
        *hand.0.lock() = Timestamp(10);
        assert!(traces.begin(TenantId(5), false, "pump", Timestamp(20)), "what has ended makes room");
        for _ in 0..1000 {
            tell(&traces, Some(5), "pump", &"ä".repeat(MOST_CHARS_OF_PACKET + 1));
        }
        let view = traces.of(TenantId(5)).swap_remove(0);
        assert_eq!(view.exchanges + view.dropped, 1000);
        assert!(view.exchanges <= (MOST_BYTES / MOST_CHARS_OF_PACKET / 2) as u64);
        assert!(traces.end(TenantId(5), "pump") && !traces.end(TenantId(5), "pump"));
    }

    #[test]
    fn names_are_forgotten_with_the_last_trace() {
        let (_, traces) = traces();
        traces.begin(TenantId(1), false, "pump", Timestamp(1));
        traces.remember(DeviceKey(7), "pump");
        assert_eq!(traces.called(DeviceKey(7)).as_deref(), Some("pump"));
        traces.end(TenantId(1), "pump");
        assert_eq!(traces.called(DeviceKey(7)), None);
    }
}
