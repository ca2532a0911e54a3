//! Who guesses passwords is slowed down; whose account it is, is not.
//!
//! A try counts against its source and against the pair of source and account, before it is looked at: many at once
//! are not more than one after the other. A right password gives back what it took. An account as such is never
//! locked: where many sources fail for it, sources that have not been seen before have one try each instead of a
//! few, and those from which the owner has signed on before go first.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use domain::Timestamp;
use parking_lot::Mutex;

use super::passwords::Lane;
use crate::throttle::site;

/// What a source may get wrong for one account.
const PAIR: Limit = Limit { per_minute: 6, burst: 6 };
/// What a source may get wrong for all accounts: many people may sit behind one address.
const SOURCE: Limit = Limit { per_minute: 60, burst: 60 };
/// What all sources together may get wrong for one account until it counts as being guessed at.
const ACCOUNT: Limit = Limit { per_minute: 10, burst: 100 };

/// The most buckets of a kind: memory does not grow with an attack.
const MOST_BUCKETS: usize = 100_000;
/// The most pairs of source and account that are remembered for having got in.
const MOST_KNOWN: usize = 20_000;
/// How often full buckets are looked for where there are too many.
const LOOKED_THROUGH_EVERY_MS: u64 = 1000;
/// A bucket's measure: one try in units that whole milliseconds refill exactly.
const TRY: u64 = 60_000;

#[derive(Clone, Copy)]
struct Limit {
    per_minute: u64,
    burst: u64,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: u64,
    at: Timestamp,
}

/// The failures of one kind of key.
struct Buckets<K> {
    limit: Limit,
    map: HashMap<K, Bucket>,
    looked_through_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Nothing was got wrong lately.
    Fresh,
    /// Something was, or there are too many to know.
    Failed,
    /// No try is left.
    Empty,
}

type Pair = (IpAddr, u64);

struct Inner {
    pairs: Buckets<Pair>,
    sources: Buckets<IpAddr>,
    accounts: Buckets<u64>,
    known: HashMap<Pair, Timestamp>,
    told: Told,
}

/// What is to be told of failures in the journal: not each of them.
struct Told {
    at: Option<Timestamp>,
    since: u64,
}

/// How often failures are told at most.
const TOLD_EVERY_MS: u64 = 10_000;

/// The failures of all who sign on with a password.
pub(super) struct Guesses(Mutex<Inner>);

/// A try that may be looked at; what becomes of it has to be said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try {
    pair: Pair,
    charged: bool,
    /// How soon it is looked at.
    pub(super) lane: Lane,
}

impl Default for Guesses {
    fn default() -> Guesses {
        Guesses(Mutex::new(Inner {
            pairs: Buckets::new(PAIR),
            sources: Buckets::new(SOURCE),
            accounts: Buckets::new(ACCOUNT),
            known: HashMap::new(),
            told: Told { at: None, since: 0 },
        }))
    }
}

impl Guesses {
    /// Whether a try may be looked at, and how soon. It counts as wrong until it is known not to be.
    pub(super) fn admit(&self, source: Option<IpAddr>, account: &str, now: Timestamp) -> Option<Try> {
        let inner = &mut *self.0.lock();
        // Who comes from nowhere is the server itself.
        let pair = (source.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), site), number_of(account));
        let standing = inner.pairs.standing(pair, now).max(inner.sources.standing(pair.0, now));
        let known = inner.known.contains_key(&pair);
        let guessed_at = inner.accounts.standing(pair.1, now) == Standing::Empty;
        let lane = match standing {
            Standing::Empty => return None,
            _ if known => Lane::Known,
            Standing::Fresh => Lane::Fresh,
            Standing::Failed if guessed_at && inner.pairs.map.contains_key(&pair) => return None,
            Standing::Failed => Lane::Failed,
        };
        if !known {
            inner.charge(pair, now);
        }
        Some(Try { pair, charged: !known, lane })
    }

    /// It was right: nothing was taken, and the pair is remembered.
    pub(super) fn right(&self, this: Try, now: Timestamp) {
        let inner = &mut *self.0.lock();
        inner.give_back(this, now);
        inner.pairs.map.remove(&this.pair);
        if inner.known.len() >= MOST_KNOWN && !inner.known.contains_key(&this.pair) {
            let oldest = inner.known.iter().min_by_key(|(_, at)| at.0).map(|(pair, _)| *pair);
            oldest.map(|pair| inner.known.remove(&pair));
        }
        inner.known.insert(this.pair, now);
    }

    /// It was wrong. `Some(n)` where the journal should hear of it, with how many there were since it last did.
    pub(super) fn wrong(&self, this: Try, now: Timestamp) -> Option<u64> {
        let inner = &mut *self.0.lock();
        if !this.charged {
            inner.charge(this.pair, now);
        }
        inner.accounts.take(this.pair.1, now);
        inner.told.since += 1;
        let due = inner.told.at.is_none_or(|at| now.since_ms(at) >= TOLD_EVERY_MS);
        due.then(|| {
            inner.told.at = Some(now);
            std::mem::take(&mut inner.told.since)
        })
    }

    /// Nobody has looked at it.
    pub(super) fn not_judged(&self, this: Try, now: Timestamp) {
        self.0.lock().give_back(this, now);
    }
}

impl Inner {
    fn charge(&mut self, pair: Pair, now: Timestamp) {
        self.pairs.take(pair, now);
        self.sources.take(pair.0, now);
    }

    fn give_back(&mut self, this: Try, now: Timestamp) {
        if this.charged {
            self.pairs.give_back(this.pair, now);
            self.sources.give_back(this.pair.0, now);
        }
    }
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    fn new(limit: Limit) -> Buckets<K> {
        Buckets { limit, map: HashMap::new(), looked_through_at: Timestamp(0) }
    }

    fn standing(&mut self, key: K, now: Timestamp) -> Standing {
        let (limit, crowded) = (self.limit, self.map.len() >= MOST_BUCKETS);
        match self.map.get_mut(&key) {
            None if crowded => Standing::Failed,
            None => Standing::Fresh,
            Some(bucket) => {
                bucket.refill(limit, now);
                match bucket.left {
                    left if left >= limit.full() => Standing::Fresh,
                    left if left >= TRY => Standing::Failed,
                    _ => Standing::Empty,
                }
            }
        }
    }

    fn take(&mut self, key: K, now: Timestamp) {
        self.forget_idle(now);
        if self.map.len() >= MOST_BUCKETS && !self.map.contains_key(&key) {
            return;
        }
        let limit = self.limit;
        let bucket = self.map.entry(key).or_insert(Bucket { left: limit.full(), at: now });
        bucket.refill(limit, now);
        bucket.left = bucket.left.saturating_sub(TRY);
    }

    fn give_back(&mut self, key: K, now: Timestamp) {
        let limit = self.limit;
        if let Some(bucket) = self.map.get_mut(&key) {
            bucket.refill(limit, now);
            bucket.left = (bucket.left + TRY).min(limit.full());
        }
    }

    fn forget_idle(&mut self, now: Timestamp) {
        if self.map.len() < MOST_BUCKETS || now.since_ms(self.looked_through_at) < LOOKED_THROUGH_EVERY_MS {
            return;
        }
        self.looked_through_at = now;
        let limit = self.limit;
        self.map.retain(|_, bucket| {
            bucket.refill(limit, now);
            bucket.left < limit.full()
        });
    }
}

impl Limit {
    fn full(self) -> u64 {
        self.burst * TRY
    }
}

impl Bucket {
    fn refill(&mut self, limit: Limit, now: Timestamp) {
        let gained = now.since_ms(self.at).saturating_mul(limit.per_minute);
        self.left = self.left.saturating_add(gained).min(limit.full());
        self.at = now;
    }
}

/// Names are strangers' texts of any length; a number is enough to tell them apart.
fn number_of(account: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    account.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn source(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0a00_0000 + number).into()))
    }

    /// How many of `tries` wrong ones from this source are looked at.
    fn looked_at(guesses: &Guesses, source: Option<IpAddr>, account: &str, tries: usize) -> usize {
        let admitted = (0..tries).filter_map(|_| guesses.admit(source, account, NOW));
        let wrong: Vec<_> = admitted.collect();
        for this in &wrong {
            guesses.wrong(*this, NOW);
        }
        wrong.len()
    }

    #[test]
    fn a_source_has_a_few_tries_for_an_account_also_all_at_once() {
        let guesses = Guesses::default();
        assert_eq!(looked_at(&guesses, source(1), "ann", 1000), 6);
        assert!(guesses.admit(source(1), "ann", NOW.plus_ms(9_999)).is_none());
        assert!(guesses.admit(source(1), "ann", NOW.plus_ms(10_000)).is_some());
        assert!(guesses.admit(source(1), "ben", NOW).is_some(), "other accounts are not concerned");
        assert!(guesses.admit(source(2), "ann", NOW).is_some(), "other sources are not concerned");
    }

    #[test]
    fn a_source_that_goes_from_name_to_name_is_stopped_too() {
        let guesses = Guesses::default();
        let looked_at: usize =
            (0..1000).map(|number| looked_at(&guesses, source(1), &number.to_string(), 1)).sum();
        assert_eq!(looked_at, 60);
    }

    #[test]
    fn an_ipv6_site_is_one_source() {
        let guesses = Guesses::default();
        let host = |text: &str| Some(text.parse().unwrap());
        assert_eq!(looked_at(&guesses, host("2001:db8::1"), "ann", 6), 6);
        assert!(guesses.admit(host("2001:db8::ffff"), "ann", NOW).is_none());
        assert!(guesses.admit(host("2001:db8:0:1::1"), "ann", NOW).is_some());
    }

    #[test]
    fn an_account_that_is_guessed_at_from_everywhere_is_not_locked() {
        let guesses = Guesses::default();
        let known = guesses.admit(source(7), "ann", NOW).unwrap();
        guesses.right(known, NOW);
        let all: usize = (1000..2000).map(|number| looked_at(&guesses, source(number), "ann", 10)).sum();
        assert!(all < 1200, "{all} of 10000 were looked at");
        assert_eq!(guesses.admit(source(7), "ann", NOW).unwrap().lane, Lane::Known);
        assert_eq!(guesses.admit(source(8), "ann", NOW).unwrap().lane, Lane::Fresh);
    }

    #[test]
    fn right_ones_take_nothing_and_wrong_ones_from_a_known_place_count_all_the_same() {
        let guesses = Guesses::default();
        for _ in 0..100 {
            let this = guesses.admit(source(1), "ann", NOW).unwrap();
            guesses.right(this, NOW);
        }
        let at_once: Vec<_> = (0..100).map(|_| guesses.admit(source(1), "ann", NOW).unwrap()).collect();
        at_once.into_iter().for_each(|this| guesses.not_judged(this, NOW));
        for _ in 0..6 {
            let this = guesses.admit(source(1), "ann", NOW).unwrap();
            guesses.wrong(this, NOW);
        }
        assert!(guesses.admit(source(1), "ann", NOW).is_none());
    }

    #[test]
    fn the_journal_hears_of_the_first_failure_and_then_of_how_many_there_were() {
        let guesses = Guesses::default();
        let fail = |number: u32, now: Timestamp| {
            let this = guesses.admit(source(number), "ann", now).unwrap();
            guesses.wrong(this, now)
        };
        assert_eq!(fail(1, NOW), Some(1));
        assert_eq!((fail(2, NOW), fail(3, NOW)), (None, None));
        assert_eq!(fail(4, NOW.plus_ms(TOLD_EVERY_MS)), Some(3));
    }

    #[test]
    fn more_sources_than_can_be_counted_shut_nobody_out() {
        let guesses = Guesses::default();
        for number in 0..MOST_BUCKETS as u32 + 10 {
            looked_at(&guesses, source(number), "ann", 1);
        }
        assert!(guesses.0.lock().pairs.map.len() <= MOST_BUCKETS);
        assert_eq!(guesses.admit(Some("192.0.2.1".parse().unwrap()), "ann", NOW).unwrap().lane, Lane::Failed);
    }
}
