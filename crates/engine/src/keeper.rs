//! What has to be done now and then: attempts into the journal, checkpoints, sweeping.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use domain::{DeviceKey, DeviceRecord, Generation};
use store::journal::{Attempt, NewEntry, What};
use store::{Changes, StoreError};

use crate::attempts::Counted;
use crate::ports::Sessions;
use crate::shared::Shared;
use crate::trouble::Trouble;

/// How long an attempt may wait for the journal.
const PERIOD: Duration = Duration::from_millis(500);
/// How often it is looked what other servers have changed.
const LOOK: Duration = Duration::from_millis(250);
/// How often a second the store is looked after. Small steps: a log that is moved into its file at once keeps the disk
/// busy, and everybody's sync waits behind it.
const UPKEEPS_A_SECOND: u32 = 20;
/// The same where the database looks after itself and there is little left to do.
const UPKEEPS_ELSEWHERE: u32 = 4;
/// Most attempts that are journalled in one transaction: devices that are let in wait for it.
const MOST_TOGETHER: usize = 256;

/// Journals attempts until `stop` is closed, then the last of them.
pub(crate) fn journal_attempts(shared: &Arc<Shared>, stop: &Receiver<()>) {
    let mut trouble = Trouble::new("attempts wait for the journal");
    while stop.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        append(shared, shared.attempts.drain(shared.clock.now()), &mut trouble);
    }
    append(shared, shared.attempts.drain_all(), &mut trouble);
}

/// Most leaves that are ended in one transaction.
const MOST_LEAVES: usize = 256;
/// How often the ends of grace periods and first connections are looked after.
const LIFE_PERIOD: Duration = Duration::from_millis(100);

/// Records first connections and ends grace periods, until `stop` is closed.
pub(crate) fn follow_lives(shared: &Arc<Shared>, stop: &Receiver<()>) {
    let mut connections = Trouble::new("first connections wait to be recorded");
    let mut trouble = Trouble::new("devices whose grace is over could not be let go");
    while stop.recv_timeout(LIFE_PERIOD) == Err(RecvTimeoutError::Timeout) {
        note_connections(shared, &mut connections);
        trouble.tell(shared.store.complete_leaving(MOST_LEAVES, shared.clock.now()).map(drop));
    }
    note_connections(shared, &mut connections);
}

fn note_connections(shared: &Shared, trouble: &mut Trouble) {
    let logins: Vec<(DeviceKey, Generation)> =
        std::mem::take(&mut *shared.connections.lock()).into_iter().collect();
    if logins.is_empty() {
        return;
    }
    match trouble.tell(shared.store.connected(&logins, shared.clock.now())) {
        Some(()) => shared.poke(),
        None => shared.connections.lock().extend(logins),
    }
}

/// How often it is written when devices were heard of: so often at most for each.
const SEEN_PERIOD: Duration = Duration::from_mins(1);
/// Most devices of which it is written in one transaction: others wait for it.
const MOST_SEEN: usize = 1000;

/// Writes when devices were heard of, until `stop` is closed, then the rest.
pub(crate) fn note_seen(shared: &Arc<Shared>, stop: &Receiver<()>) {
    let mut trouble = Trouble::new("when devices were heard of could not be written");
    while stop.recv_timeout(SEEN_PERIOD) == Err(RecvTimeoutError::Timeout) {
        trouble.tell(write_seen(shared));
    }
    trouble.tell(write_seen(shared));
}

fn write_seen(shared: &Shared) -> Result<(), StoreError> {
    let mut seen: Vec<_> = std::mem::take(&mut *shared.seen.lock()).into_iter().collect();
    // Neighbours in the table are written together.
    seen.sort_unstable_by_key(|(device, _)| *device);
    let mut left = seen.as_slice();
    while !left.is_empty() {
        let (some, others) = left.split_at(left.len().min(MOST_SEEN));
        if let Err(error) = shared.store.note_seen(some) {
            shared.still_unwritten(left);
            return Err(error);
        }
        left = others;
    }
    Ok(())
}

/// Looks what other servers have changed, until `stop` is closed: forgets what is not so any more, and closes
/// the sessions of devices that hold other credentials now, or may not connect.
pub(crate) fn follow_others(shared: &Arc<Shared>, sessions: &dyn Sessions, stop: &Receiver<()>) {
    let mut trouble = Trouble::new("what other servers changed could not be read");
    while stop.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        trouble.tell(follow(shared, sessions));
    }
}

fn follow(shared: &Shared, sessions: &dyn Sessions) -> Result<(), StoreError> {
    let Changes { settings, devices, shared: told } = shared.store.changes()?;
    for (device, keys) in told {
        sessions.shared_changed(device, &keys);
    }
    if settings {
        shared.profiles.clear();
    }
    if devices.is_empty() {
        return Ok(());
    }
    let present = sessions.present(&devices);
    let records = shared.store.devices_by_key(&present)?;
    let standing: Vec<_> = present.into_iter().zip(records.iter().map(generation)).collect();
    sessions.close_others(&standing);
    Ok(())
}

/// The generation with which a device may be connected.
fn generation(record: &Option<DeviceRecord>) -> Option<Generation> {
    record.as_ref().filter(|record| record.state.may_connect())?.credential.generation()
}

/// Looks after the store and forgets what has become harmless, until `stop` is closed.
pub(crate) fn maintain(shared: &Arc<Shared>, stop: &Receiver<()>) {
    let a_second = if shared.store.is_remote() { UPKEEPS_ELSEWHERE } else { UPKEEPS_A_SECOND };
    let mut walk = Trouble::new("the walk over the sealed values waits");
    let mut upkeep = Trouble::new("the store could not be looked after");
    while stop.recv_timeout(Duration::from_secs(1) / a_second) == Err(RecvTimeoutError::Timeout) {
        let now = shared.clock.now();
        shared.throttle.forget_idle(now);
        walk.tell(shared.store.walk_on(a_second, now));
        upkeep.tell(shared.store.maintain(now));
    }
}

fn append(shared: &Shared, mut attempts: Vec<Counted>, trouble: &mut Trouble) {
    while !attempts.is_empty() {
        let later = attempts.split_off(attempts.len().min(MOST_TOGETHER));
        let entries: Vec<NewEntry> = attempts.iter().map(entry).collect();
        if trouble.tell(shared.store.append(&entries, shared.clock.now())).is_none() {
            attempts.extend(later);
            return shared.attempts.restore(attempts);
        }
        attempts = later;
    }
}

fn entry(counted: &Counted) -> NewEntry {
    let Counted { attempt, count } = counted;
    let what = What::Attempt(Attempt {
        at: attempt.at,
        outcome: attempt.outcome,
        registration_id: attempt.registration_id.clone(),
        profile: attempt.profile.clone(),
        unknown_key: attempt.unknown_key.clone(),
        origin: attempt.origin,
        count: *count,
    });
    NewEntry { tenant: attempt.tenant, device: attempt.device, what }
}
