//! The queue of requests that wait for their decision: bounded, and fair to tenants.
//!
//! Each tenant has a line of its own, and batches take one of each line in turn. A full queue makes room for a
//! tenant that holds less by giving up the newest request of the tenant that holds most. So a flood of one tenant
//! costs that tenant, and leaves the others their share.

use std::collections::{HashMap, VecDeque};

use domain::{Refusal, TenantId};
use parking_lot::{Condvar, Mutex};

/// The lines of all tenants.
pub(crate) struct FairQueue<T> {
    lines: Mutex<Lines<T>>,
    filled: Condvar,
    most: usize,
}

struct Lines<T> {
    waiting: HashMap<TenantId, VecDeque<T>>,
    /// The tenants with somebody waiting, in the order of their turns.
    turns: VecDeque<TenantId>,
    count: usize,
    stopping: bool,
    /// Those who take and have not been told that nothing will come any more.
    takers: usize,
}

impl<T> FairQueue<T> {
    /// A queue for so many requests of all tenants together, and so many threads that take them.
    pub(crate) fn new(most: usize, takers: usize) -> FairQueue<T> {
        let lines =
            Lines { waiting: HashMap::new(), turns: VecDeque::new(), count: 0, stopping: false, takers };
        FairQueue { lines: Mutex::new(lines), filled: Condvar::new(), most: most.max(1) }
    }

    /// Hands work over without waiting for room: memory does not grow with a flood. Returns who has to be refused,
    /// and why: `queue-full` for the work itself or for what had to make room for it, or `shutting-down`.
    pub(crate) fn send(&self, tenant: TenantId, work: T) -> Option<(Refusal, T)> {
        let mut lines = self.lines.lock();
        if lines.stopping {
            return Some((Refusal::ShuttingDown, work));
        }
        let mut displaced = None;
        if lines.count >= self.most {
            let Some(victim) = lines.who_holds_more_than(tenant) else {
                return Some((Refusal::QueueFull, work));
            };
            displaced = lines.give_up(victim);
        }
        lines.line(tenant).push_back(work);
        drop(lines);
        self.filled.notify_one();
        displaced.map(|work| (Refusal::QueueFull, work))
    }

    /// Puts work that was let in before at the head of its tenant's line, whatever the queue holds. Returns it where
    /// nobody takes anything any more.
    pub(crate) fn give_back(&self, tenant: TenantId, work: T) -> Option<T> {
        let mut lines = self.lines.lock();
        if lines.takers == 0 {
            return Some(work);
        }
        lines.line(tenant).push_front(work);
        drop(lines);
        self.filled.notify_one();
        None
    }

    /// Takes what waits, up to `most`, one of each tenant in turn; sleeps only while there is nothing to do.
    /// Nothing is taken only after a stop: then whoever asked takes no more.
    pub(crate) fn take(&self, most: usize) -> Vec<T> {
        let mut lines = self.lines.lock();
        while lines.count == 0 && !lines.stopping {
            self.filled.wait(&mut lines);
        }
        lines.takers = lines.takers.saturating_sub(usize::from(lines.count == 0));
        let next = std::iter::from_fn(|| lines.next());
        next.take(most).collect()
    }

    /// Takes no more; what waits is still to be finished.
    pub(crate) fn stop(&self) {
        self.lines.lock().stopping = true;
        self.filled.notify_all();
    }
}

impl<T> Lines<T> {
    /// The line in which one more of this tenant is about to stand.
    fn line(&mut self, tenant: TenantId) -> &mut VecDeque<T> {
        self.count += 1;
        let line = self.waiting.entry(tenant).or_default();
        if line.is_empty() {
            self.turns.push_back(tenant);
        }
        line
    }

    fn next(&mut self) -> Option<T> {
        let tenant = self.turns.pop_front()?;
        let line = self.waiting.get_mut(&tenant)?;
        let work = line.pop_front();
        self.count -= usize::from(work.is_some());
        if line.is_empty() {
            self.waiting.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        work
    }

    /// The tenant that holds most, if that is more than this one would hold.
    fn who_holds_more_than(&self, tenant: TenantId) -> Option<TenantId> {
        let own = self.waiting.get(&tenant).map_or(0, VecDeque::len);
        let most = self.waiting.iter().max_by_key(|(_, line)| line.len())?;
        (most.1.len() > own + 1).then_some(*most.0)
    }

    fn give_up(&mut self, tenant: TenantId) -> Option<T> {
        let line = self.waiting.get_mut(&tenant)?;
        let newest = line.pop_back();
        self.count -= usize::from(newest.is_some());
        if line.is_empty() {
            self.waiting.remove(&tenant);
            self.turns.retain(|turn| *turn != tenant);
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TenantId = TenantId(1);
    const TWO: TenantId = TenantId(2);

    #[test]
    fn batches_take_one_of_each_tenant_in_turn_and_each_in_its_order() {
        let queue = FairQueue::new(10, 1);
        for number in 0..4 {
            assert!(queue.send(ONE, (ONE, number)).is_none());
        }
        assert!(queue.send(TWO, (TWO, 0)).is_none());
        assert_eq!(queue.take(3), [(ONE, 0), (TWO, 0), (ONE, 1)]);
        assert_eq!(queue.take(9), [(ONE, 2), (ONE, 3)]);
    }

    #[test]
    fn what_is_given_back_is_the_next_of_its_tenant_in_a_full_queue_too_and_takes_nobodys_turn() {
        let queue = FairQueue::<(TenantId, i32)>::new(3, 1);
        for number in [1, 2] {
            assert!(queue.send(ONE, (ONE, number)).is_none());
        }
        assert!(queue.send(TWO, (TWO, 0)).is_none());
        for number in [0, -1] {
            assert_eq!(queue.give_back(ONE, (ONE, number)), None);
        }
        assert_eq!(queue.take(3), [(ONE, -1), (TWO, 0), (ONE, 0)]);
        assert_eq!(queue.take(9), [(ONE, 1), (ONE, 2)]);
    }

    #[test]
    fn a_full_queue_makes_room_for_who_holds_less_and_for_nobody_else() {
        let queue = FairQueue::new(4, 1);
        for number in 0..4 {
            assert!(queue.send(ONE, (ONE, number)).is_none());
        }
        assert_eq!(queue.send(ONE, (ONE, 4)), Some((Refusal::QueueFull, (ONE, 4))));
        assert_eq!(queue.send(TWO, (TWO, 0)), Some((Refusal::QueueFull, (ONE, 3))));
        assert_eq!(queue.send(TWO, (TWO, 1)), Some((Refusal::QueueFull, (ONE, 2))));
        assert_eq!(queue.send(TWO, (TWO, 2)), Some((Refusal::QueueFull, (TWO, 2))));
        assert_eq!(queue.take(9), [(ONE, 0), (TWO, 0), (ONE, 1), (TWO, 1)]);
    }

    #[test]
    fn a_flood_at_ten_times_the_rate_leaves_the_others_what_they_ask_for() {
        let queue = FairQueue::new(64, 1);
        let (mut served, mut asked, mut lost) = (0, 0, 0);
        for round in 0..1000 {
            for number in 0..20 {
                lost += u32::from(queue.send(ONE, (ONE, number)).is_some_and(|(_, work)| work.0 == TWO));
            }
            for number in 0..2 {
                asked += 1;
                lost += u32::from(queue.send(TWO, (TWO, number)).is_some_and(|(_, work)| work.0 == TWO));
            }
            served += queue.take(8).iter().filter(|(tenant, _)| *tenant == TWO).count();
            assert!(round < 10 || served > 0);
        }
        assert_eq!((lost, served), (0, asked), "nothing of the quiet tenant is refused or left behind");
    }

    #[test]
    fn who_comes_after_the_stop_is_refused_and_what_waits_is_finished() {
        let queue = FairQueue::new(4, 1);
        assert!(queue.send(ONE, (ONE, 0)).is_none());
        queue.stop();
        assert_eq!(queue.send(ONE, (ONE, 1)), Some((Refusal::ShuttingDown, (ONE, 1))));
        assert_eq!(queue.give_back(ONE, (ONE, 2)), None, "what is under way comes to its end");
        assert_eq!(queue.take(9), [(ONE, 2), (ONE, 0)]);
        assert_eq!(queue.take(9), [], "and nobody sleeps");
        assert_eq!(queue.give_back(ONE, (ONE, 3)), Some((ONE, 3)));
    }
}
