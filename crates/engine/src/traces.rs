//! What single devices send and are told, kept for an operator who looks for the reason.
//!
//! A trace lives in the memory of one server and is gone after its time: what devices say is nobody's archive. Whoever
//! hands an exchange over has taken its secrets out.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{Origin, Refusal, TenantId, Timestamp};
use parking_lot::Mutex;

use crate::ports::Clock;

/// Most traces at a time, of all tenants.
pub const MOST_TRACES: usize = 32;
/// Exchanges that a trace keeps: the newest.
pub const MOST_EXCHANGES: usize = 500;
/// Most characters of a packet that are kept.
pub const MOST_CHARS: usize = 4096;
/// How long an ended trace can be read, ms.
const READABLE_MS: u64 = 60 * 60 * 1000;

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
    /// The exchanges that are kept, the oldest first.
    pub exchanges: Vec<Exchange>,
    /// How many older ones are not kept any more.
    pub dropped: u64,
}

struct Trace {
    tenant: TenantId,
    /// Whether it hears of requests that belong to no tenant, too.
    by_server: bool,
    name: String,
    until: Timestamp,
    exchanges: VecDeque<Exchange>,
    dropped: u64,
}

/// The traces of this server.
pub struct Traces {
    clock: Arc<dyn Clock>,
    any: AtomicBool,
    kept: Mutex<Vec<Trace>>,
}

impl Traces {
    /// None.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Traces {
        Traces { clock, any: AtomicBool::new(false), kept: Mutex::default() }
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
        for trace in self.kept.lock().iter_mut().filter(|trace| now < trace.until && trace.name == name) {
            if tenant.map_or(trace.by_server, |tenant| tenant == trace.tenant) {
                trace.keep(exchange.clone());
            }
        }
    }

    /// Begins a trace, or lets one that is there go on until then. Returns whether there was room.
    pub(crate) fn begin(&self, tenant: TenantId, by_server: bool, name: &str, until: Timestamp) -> bool {
        let mut kept = self.living();
        let full = kept.len() >= MOST_TRACES;
        match kept.iter_mut().find(|trace| trace.is(tenant, name)) {
            Some(trace) => {
                trace.until = until;
                trace.by_server |= by_server;
            }
            None if full => return false,
            None => kept.push(Trace::new(tenant, by_server, name, until)),
        }
        self.any.store(true, Ordering::Relaxed);
        true
    }

    /// Ends a trace and forgets what it kept. Returns whether there was one.
    pub(crate) fn end(&self, tenant: TenantId, name: &str) -> bool {
        let mut kept = self.living();
        let before = kept.len();
        kept.retain(|trace| !trace.is(tenant, name));
        self.any.store(!kept.is_empty(), Ordering::Relaxed);
        kept.len() < before
    }

    /// The tenant's traces.
    pub(crate) fn of(&self, tenant: TenantId) -> Vec<TraceView> {
        self.living().iter().filter(|trace| trace.tenant == tenant).map(Trace::view).collect()
    }

    fn living(&self) -> parking_lot::MutexGuard<'_, Vec<Trace>> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        kept.retain(|trace| now < trace.until.plus_ms(READABLE_MS));
        self.any.store(!kept.is_empty(), Ordering::Relaxed);
        kept
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
        Trace { tenant, by_server, name: name.to_owned(), until, exchanges: VecDeque::new(), dropped: 0 }
    }

    fn is(&self, tenant: TenantId, name: &str) -> bool {
        self.tenant == tenant && self.name == name
    }

    fn keep(&mut self, exchange: Exchange) {
        if self.exchanges.len() == MOST_EXCHANGES {
            self.exchanges.pop_front();
            self.dropped += 1;
        }
        self.exchanges.push_back(exchange);
    }

    fn view(&self) -> TraceView {
        TraceView {
            name: self.name.clone(),
            until: self.until,
            exchanges: self.exchanges.iter().cloned().collect(),
            dropped: self.dropped,
        }
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(MOST_CHARS) {
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

    fn sent(traces: &Traces, tenant: u64) -> Vec<String> {
        let of = traces.of(TenantId(tenant));
        of.into_iter().flat_map(|trace| trace.exchanges).map(|exchange| exchange.sent).collect()
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
        assert_eq!(sent(&traces, 1), ["own"]);
        assert_eq!(sent(&traces, 2), [""; 0]);
        *hand.0.lock() = Timestamp(1000).plus_ms(READABLE_MS);
        assert_eq!(traces.of(TenantId(1)), []);
        assert!(!traces.is_any());
    }

    #[test]
    fn only_an_operator_of_the_server_hears_of_requests_that_are_no_tenants() {
        let (_, traces) = traces();
        traces.begin(TenantId(1), true, "pump", Timestamp(1));
        tell(&traces, None, "pump", "nobody's");
        assert_eq!(sent(&traces, 1), ["nobody's"]);
    }

    #[test]
    fn what_a_trace_holds_is_bounded() {
        let (_, traces) = traces();
        for at in 0..MOST_TRACES {
            assert!(traces.begin(TenantId(1), false, &at.to_string(), Timestamp(1)));
        }
        assert!(!traces.begin(TenantId(1), false, "one too many", Timestamp(1)));
        assert!(traces.begin(TenantId(1), false, "0", Timestamp(2)), "it is there already");
        for _ in 0..=MOST_EXCHANGES {
            tell(&traces, Some(1), "0", &"ä".repeat(MOST_CHARS + 1));
        }
        let trace = traces.of(TenantId(1)).swap_remove(0);
        assert_eq!((trace.exchanges.len(), trace.dropped), (MOST_EXCHANGES, 1));
        assert_eq!(trace.exchanges[0].sent.chars().count(), MOST_CHARS + 1);
        assert!(traces.end(TenantId(1), "0") && !traces.end(TenantId(1), "0"));
    }
}
