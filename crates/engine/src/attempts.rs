//! Attempts that changed no device: journalled in batches within a second, and nobody waits for them.
//!
//! From the tenth equal one a minute they are only counted, so that nobody can fill the disk by failing.

use std::collections::HashMap;
use std::net::IpAddr;

use domain::{DeviceKey, Origin, TenantId, Timestamp};
use parking_lot::Mutex;

use crate::throttle::site;

/// Equal attempts of a minute that are journalled one by one.
const SINGLE_ENTRIES: u32 = 9;
const MINUTE_MS: u64 = 60_000;
/// Most attempts that wait for the journal; beyond it they are only counted.
const MOST_PENDING: usize = 10_000;
/// Most kinds of equal attempts that are counted apart.
const MOST_TALLIES: usize = 50_000;

/// An attempt, as it will stand in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// When it came.
    pub(crate) at: Timestamp,
    /// The tenant, where something was proven or named that belongs to one.
    pub(crate) tenant: Option<TenantId>,
    /// The device, where it is known.
    pub(crate) device: Option<DeviceKey>,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// The profile's name, where it named one that exists.
    pub(crate) profile: Option<String>,
    /// A keyed digest of the provision key, where no profile has it.
    pub(crate) unknown_key: Option<String>,
    /// The registration id that was claimed.
    pub(crate) registration_id: Option<String>,
    /// `unchanged`, or the code of the refusal.
    pub(crate) outcome: &'static str,
    /// Whether the evidence held; an unproven attempt is told apart by its source, a proven one by its device.
    pub(crate) proven: bool,
}

/// An attempt and how many equal ones it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The attempt, or the first of those that were only counted.
    pub(crate) attempt: Attempt,
    /// How many.
    pub(crate) count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Source(IpAddr),
    Device(Option<TenantId>, Option<String>),
    Many,
}

struct Tally {
    since: Timestamp,
    seen: u32,
    first_uncounted: Option<Attempt>,
}

#[derive(Default)]
struct Waiting {
    pending: Vec<Counted>,
    tallies: HashMap<(Who, &'static str), Tally>,
}

/// The attempts that wait for the journal.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<Waiting>);

impl Attempts {
    /// Takes an attempt; costs no I/O.
    pub(crate) fn note(&self, attempt: Attempt) {
        let mut waiting = self.0.lock();
        let key = waiting.resident(&attempt);
        let room = waiting.pending.len() < MOST_PENDING;
        let tally =
            waiting.tallies.entry(key).or_insert(Tally { since: attempt.at, seen: 0, first_uncounted: None });
        tally.seen = tally.seen.saturating_add(1);
        if tally.seen <= SINGLE_ENTRIES && room {
            waiting.pending.push(Counted { attempt, count: 1 });
        } else {
            tally.seen = tally.seen.max(SINGLE_ENTRIES + 1);
            tally.first_uncounted.get_or_insert(attempt);
        }
    }

    /// What is ready for the journal at `now`; counts of minutes that are over are among it.
    pub(crate) fn drain(&self, now: Timestamp) -> Vec<Counted> {
        self.0.lock().drain(|tally| now.since_ms(tally.since) >= MINUTE_MS)
    }

    /// Everything, for the last entry before the end.
    pub(crate) fn drain_all(&self) -> Vec<Counted> {
        self.0.lock().drain(|_| true)
    }

    /// Gives back what the journal could not take; the newest go first where there is no room.
    pub(crate) fn restore(&self, mut entries: Vec<Counted>) {
        let mut waiting = self.0.lock();
        entries.append(&mut waiting.pending);
        entries.truncate(MOST_PENDING);
        waiting.pending = entries;
    }
}

impl Waiting {
    fn resident(&self, attempt: &Attempt) -> (Who, &'static str) {
        let who = if attempt.proven {
            Who::Device(attempt.tenant, attempt.registration_id.clone())
        } else {
            Who::Source(site(attempt.origin.source))
        };
        let key = (who, attempt.outcome);
        if self.tallies.len() < MOST_TALLIES || self.tallies.contains_key(&key) {
            key
        } else {
            (Who::Many, key.1)
        }
    }

    fn drain(&mut self, is_over: impl Fn(&Tally) -> bool) -> Vec<Counted> {
        let mut ready = std::mem::take(&mut self.pending);
        self.tallies.retain(|_, tally| {
            let over = is_over(tally);
            if let (true, Some(attempt)) = (over, tally.first_uncounted.take_if(|_| over)) {
                ready.push(Counted { attempt, count: tally.seen - SINGLE_ENTRIES });
            }
            !over
        });
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Wire;

    fn attempt(source: &str, at: i64) -> Attempt {
        Attempt {
            at: Timestamp(at),
            tenant: None,
            device: None,
            origin: Origin { source: source.parse().unwrap(), wire: Wire::ThingsboardHttp },
            profile: None,
            unknown_key: None,
            registration_id: None,
            outcome: "proof-invalid",
            proven: false,
        }
    }

    #[test]
    fn from_the_tenth_equal_attempt_a_minute_they_are_only_counted() {
        let attempts = Attempts::default();
        for at in 0..100 {
            attempts.note(attempt("192.0.2.1", at));
        }
        attempts.note(attempt("192.0.2.2", 100));
        assert_eq!(attempts.drain(Timestamp(1000)).len(), 10);
        assert!(attempts.drain(Timestamp(59_999)).is_empty());
        let late = attempts.drain(Timestamp(60_100));
        assert_eq!(late, vec![Counted { attempt: attempt("192.0.2.1", 9), count: 91 }]);
        attempts.note(attempt("192.0.2.1", 60_200));
        assert_eq!(attempts.drain(Timestamp(60_300)).len(), 1);
    }

    #[test]
    fn what_the_journal_could_not_take_comes_again() {
        let attempts = Attempts::default();
        attempts.note(attempt("192.0.2.1", 0));
        let entries = attempts.drain(Timestamp(1));
        attempts.restore(entries.clone());
        assert_eq!(attempts.drain_all(), entries);
    }

    #[test]
    fn no_attempt_goes_uncounted_when_there_is_no_room() {
        let attempts = Attempts::default();
        for number in 0..20_000_u32 {
            attempts.note(attempt(&IpAddr::V4(number.into()).to_string(), 0));
        }
        let entries = attempts.drain_all();
        assert_eq!(entries.iter().map(|entry| entry.count).sum::<u32>(), 20_000);
    }
}
