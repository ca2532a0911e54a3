//! Unproven attempts are counted; proven ones never (thingsboard page, section 5.4).
//!
//! A bucket belongs to a source and, where the attempt names a profile that exists, to that profile: a
//! factory behind one address with one wrongly flashed lot does not lock out its other lots. An empty
//! bucket refuses all that falls into it, so guessing on with the right secret gains nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicI64, Ordering};

use domain::{ProfileId, Timestamp};
use parking_lot::Mutex;

/// How many unproven attempts are let through.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Refill, in attempts a second.
    pub per_second: u32,
    /// What a full bucket holds.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Rate {
        Rate { per_second: 10, burst: 50 }
    }
}

/// Most buckets kept at once. Beyond it strangers share one bucket: memory does not grow with an attack.
const MOST_BUCKETS: usize = 100_000;
/// How often a throttle with all its buckets in use looks for idle ones.
const LOOKED_THROUGH_EVERY_MS: u64 = 1000;

/// Which bucket an attempt falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BucketKey {
    source: IpAddr,
    profile: Option<ProfileId>,
}

impl BucketKey {
    /// The bucket of a source, for a profile where the attempt names one that exists.
    pub fn new(source: IpAddr, profile: Option<ProfileId>) -> BucketKey {
        BucketKey { source: site(source), profile }
    }

    fn shared() -> BucketKey {
        BucketKey { source: IpAddr::V6(Ipv6Addr::UNSPECIFIED), profile: None }
    }
}

/// One address counts as itself, but an IPv6 site has a whole /64 to hide in.
pub(crate) fn site(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

struct Bucket {
    /// Thousandths of attempts left: whole milliseconds refill exactly.
    left_milli: u64,
    at: Timestamp,
}

/// The buckets of all sources that have failed lately.
pub struct Throttle {
    rate: Rate,
    buckets: Mutex<HashMap<BucketKey, Bucket>>,
    looked_through_at: AtomicI64,
}

impl Throttle {
    /// No failures so far.
    pub fn new(rate: Rate) -> Throttle {
        Throttle { rate, buckets: Mutex::new(HashMap::new()), looked_through_at: AtomicI64::new(0) }
    }

    /// Whether an attempt may be looked at.
    pub fn allows(&self, key: BucketKey, now: Timestamp) -> bool {
        let mut buckets = self.buckets.lock();
        if buckets.is_empty() {
            return true;
        }
        let key = resident(&buckets, key);
        let Some(bucket) = buckets.get_mut(&key) else { return true };
        self.refill(bucket, now);
        bucket.left_milli >= 1000
    }

    /// As [`Throttle::allows`], but whoever has no bucket of its own, because there are too many, is let through:
    /// for what costs next to nothing to look at.
    pub fn allows_strangers(&self, key: BucketKey, now: Timestamp) -> bool {
        let resident = self.buckets.lock().contains_key(&key);
        !resident || self.allows(key, now)
    }

    /// Counts an attempt that proved nothing.
    pub fn unproven(&self, key: BucketKey, now: Timestamp) {
        if self.is_due_to_forget(now) {
            self.forget_idle(now);
        }
        let mut buckets = self.buckets.lock();
        let key = resident(&buckets, key);
        let full = Bucket { left_milli: self.burst_milli(), at: now };
        let bucket = buckets.entry(key).or_insert(full);
        self.refill(bucket, now);
        bucket.left_milli = bucket.left_milli.saturating_sub(1000);
    }

    /// Counts an attempt before it is looked at, so that many at once are not more than one after the other; `false`
    /// where it is not to be looked at. Otherwise as [`Throttle::allows_strangers`].
    pub fn take(&self, key: BucketKey, now: Timestamp) -> bool {
        if self.is_due_to_forget(now) {
            self.forget_idle(now);
        }
        let mut buckets = self.buckets.lock();
        let counted = resident(&buckets, key);
        let full = Bucket { left_milli: self.burst_milli(), at: now };
        let bucket = buckets.entry(counted).or_insert(full);
        self.refill(bucket, now);
        let allowed = bucket.left_milli >= 1000 || counted != key;
        if allowed {
            bucket.left_milli = bucket.left_milli.saturating_sub(1000);
        }
        allowed
    }

    /// Takes back that an attempt was counted: it has proved something, or nobody could look at it.
    pub fn give_back(&self, key: BucketKey, now: Timestamp) {
        let mut buckets = self.buckets.lock();
        let key = resident(&buckets, key);
        if let Some(bucket) = buckets.get_mut(&key) {
            self.refill(bucket, now);
            bucket.left_milli = (bucket.left_milli + 1000).min(self.burst_milli());
        }
    }

    /// Drops the buckets that are full again; called now and then.
    pub fn forget_idle(&self, now: Timestamp) {
        self.buckets.lock().retain(|_, bucket| {
            self.refill(bucket, now);
            bucket.left_milli < self.burst_milli()
        });
    }

    /// Whether all buckets are in use and nobody has looked for idle ones lately.
    fn is_due_to_forget(&self, now: Timestamp) -> bool {
        let last = Timestamp(self.looked_through_at.load(Ordering::Relaxed));
        let due = now.since_ms(last) >= LOOKED_THROUGH_EVERY_MS && self.buckets.lock().len() >= MOST_BUCKETS;
        if due {
            self.looked_through_at.store(now.0, Ordering::Relaxed);
        }
        due
    }

    fn refill(&self, bucket: &mut Bucket, now: Timestamp) {
        let gained = now.since_ms(bucket.at).saturating_mul(u64::from(self.rate.per_second));
        bucket.left_milli = bucket.left_milli.saturating_add(gained).min(self.burst_milli());
        bucket.at = now;
    }

    fn burst_milli(&self) -> u64 {
        u64::from(self.rate.burst) * 1000
    }
}

/// The bucket itself, or the shared one where there are too many already.
fn resident(buckets: &HashMap<BucketKey, Bucket>, key: BucketKey) -> BucketKey {
    if buckets.len() < MOST_BUCKETS || buckets.contains_key(&key) { key } else { BucketKey::shared() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: &str, profile: Option<u64>) -> BucketKey {
        BucketKey::new(source.parse().unwrap(), profile.map(ProfileId))
    }

    #[test]
    fn an_empty_bucket_refuses_until_it_has_refilled() {
        let throttle = Throttle::new(Rate::default());
        let stranger = key("192.0.2.1", None);
        for _ in 0..50 {
            assert!(throttle.allows(stranger, Timestamp(0)));
            throttle.unproven(stranger, Timestamp(0));
        }
        assert!(!throttle.allows(stranger, Timestamp(99)));
        assert!(throttle.allows(stranger, Timestamp(100)));
    }

    #[test]
    fn what_is_counted_beforehand_is_counted_once_and_given_back_where_it_was_good() {
        let throttle = Throttle::new(Rate { per_second: 1, burst: 3 });
        let source = key("192.0.2.1", None);
        for _ in 0..100 {
            assert!(throttle.take(source, Timestamp(0)));
            throttle.give_back(source, Timestamp(0));
        }
        let looked_at = (0..100).filter(|_| throttle.take(source, Timestamp(0))).count();
        assert_eq!(looked_at, 3);
        throttle.give_back(source, Timestamp(0));
        assert!(throttle.take(source, Timestamp(0)) && !throttle.take(source, Timestamp(0)));
        // What was refused has cost nothing more: a second later there is one again.
        assert!(!throttle.take(source, Timestamp(500)));
        assert!(throttle.take(source, Timestamp(1000)) && !throttle.take(source, Timestamp(1000)));
        throttle.give_back(key("192.0.2.2", None), Timestamp(0));
    }

    #[test]
    fn one_profile_of_a_source_does_not_lock_out_another() {
        let throttle = Throttle::new(Rate { per_second: 1, burst: 1 });
        throttle.unproven(key("192.0.2.1", Some(1)), Timestamp(0));
        assert!(!throttle.allows(key("192.0.2.1", Some(1)), Timestamp(0)));
        assert!(throttle.allows(key("192.0.2.1", Some(2)), Timestamp(0)));
        assert!(throttle.allows(key("192.0.2.2", Some(1)), Timestamp(0)));
    }

    #[test]
    fn an_ipv6_site_is_one_source_and_mapped_ipv4_is_ipv4() {
        assert_eq!(key("2001:db8::1", None), key("2001:db8::ffff:2", None));
        assert_ne!(key("2001:db8::1", None), key("2001:db8:0:1::1", None));
        assert_eq!(key("::ffff:192.0.2.1", None), key("192.0.2.1", None));
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let throttle = Throttle::new(Rate::default());
        throttle.unproven(key("192.0.2.1", None), Timestamp(0));
        throttle.forget_idle(Timestamp(99));
        assert_eq!(throttle.buckets.lock().len(), 1);
        throttle.forget_idle(Timestamp(100));
        assert!(throttle.buckets.lock().is_empty());
    }

    #[test]
    fn an_attack_from_everywhere_does_not_grow_memory() {
        let throttle = Throttle::new(Rate::default());
        for number in 0..MOST_BUCKETS as u32 + 1000 {
            throttle.unproven(BucketKey::new(IpAddr::V4(number.into()), None), Timestamp(0));
        }
        assert_eq!(throttle.buckets.lock().len(), MOST_BUCKETS + 1);
    }

    #[test]
    fn after_an_attack_from_everywhere_strangers_have_buckets_of_their_own_again() {
        let throttle = Throttle::new(Rate { per_second: 1, burst: 1 });
        for number in 0..MOST_BUCKETS as u32 + 1 {
            throttle.unproven(BucketKey::new(IpAddr::V4(number.into()), None), Timestamp(0));
        }
        let stranger = key("2001:db8:0:2::1", None);
        throttle.unproven(stranger, Timestamp(0));
        assert!(
            !throttle.allows(stranger, Timestamp(0)) && throttle.allows_strangers(stranger, Timestamp(0))
        );
        let late = Timestamp(60_000);
        throttle.unproven(key("2001:db8::1", None), late);
        assert!(throttle.allows(key("2001:db8:0:1::1", None), late));
    }
}
