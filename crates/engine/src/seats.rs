//! How many requests may wait for a hook, a person or a neighbour: bounded for each wire, whose connections they hold,
//! and fair to tenants. As long as there is room anybody may wait; where there is none, the tenant that holds most makes
//! room for one that holds less.

use std::collections::HashMap;

use domain::{TenantId, Wire};

/// The seats of all wires, and who holds how many of them.
pub(crate) struct Seats {
    most: [usize; Wire::ALL.len()],
    held: HashMap<(Wire, TenantId), usize>,
}

/// What comes of asking for a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// It is taken.
    Taken,
    /// It is taken, and this tenant has to give one up.
    InPlaceOf(TenantId),
    /// There is none.
    None,
}

impl Default for Seats {
    /// As many as anybody wants.
    fn default() -> Seats {
        Seats::new([usize::MAX; Wire::ALL.len()])
    }
}

impl Seats {
    /// So many for each wire, in the order of [`Wire::ALL`].
    pub(crate) fn new(most: [usize; Wire::ALL.len()]) -> Seats {
        Seats { most, held: HashMap::new() }
    }

    /// Takes a seat for a request of this tenant.
    pub(crate) fn take(&mut self, wire: Wire, tenant: TenantId) -> Seat {
        let of_wire = || self.held.iter().filter(|((of, _), _)| *of == wire);
        let mut seat = Seat::Taken;
        if of_wire().map(|(_, held)| held).sum::<usize>() >= self.most(wire) {
            let own = self.held.get(&(wire, tenant)).copied().unwrap_or(0);
            match of_wire().max_by_key(|(_, held)| **held) {
                Some(((_, most), held)) if *held > own + 1 => seat = Seat::InPlaceOf(*most),
                _ => return Seat::None,
            }
        }
        *self.held.entry((wire, tenant)).or_default() += 1;
        seat
    }

    /// Gives a seat back.
    pub(crate) fn leave(&mut self, wire: Wire, tenant: TenantId) {
        if let Some(held) = self.held.get_mut(&(wire, tenant)) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&(wire, tenant));
            }
        }
    }

    fn most(&self, wire: Wire) -> usize {
        Wire::ALL.iter().zip(self.most).find(|(of, _)| **of == wire).map_or(usize::MAX, |(_, most)| most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Wire = Wire::ThingsboardHttp;

    #[test]
    fn one_tenant_may_hold_all_seats_until_another_one_comes() {
        let (flood, small, third) = (TenantId(1), TenantId(2), TenantId(3));
        let mut seats = Seats::new([4, 1]);
        for _ in 0..4 {
            assert_eq!(seats.take(HTTP, flood), Seat::Taken);
        }
        assert_eq!(seats.take(HTTP, flood), Seat::None);
        assert_eq!(seats.take(Wire::ThingsboardMqtt, flood), Seat::Taken, "another wire, other connections");
        for _ in 0..2 {
            assert_eq!(seats.take(HTTP, small), Seat::InPlaceOf(flood));
            seats.leave(HTTP, flood);
        }
        assert_eq!(seats.take(HTTP, small), Seat::None, "each has its fair part");
        assert_eq!(seats.take(HTTP, flood), Seat::None);
        assert_ne!(seats.take(HTTP, third), Seat::None);
    }

    #[test]
    fn seats_that_are_given_back_are_free_for_anybody() {
        let mut seats = Seats::new([1, 1]);
        assert_eq!(seats.take(HTTP, TenantId(1)), Seat::Taken);
        seats.leave(HTTP, TenantId(1));
        assert_eq!(seats.take(HTTP, TenantId(2)), Seat::Taken);
        assert_eq!(seats.take(HTTP, TenantId(1)), Seat::None);
    }
}
