//! Messages of ours, and messages at QoS 2 that are half delivered.

use std::collections::VecDeque;

use wire::mqtt::{Connect, Delivery, Packet, PacketId, Publish, Qos};

use super::Answer;

/// The most messages of ours at QoS 1 that are not acknowledged yet.
const MOST_IN_FLIGHT: u16 = 16;

/// The most messages that wait for their turn before no more of our own are taken up.
const MOST_WAITING: usize = 64;

/// The most messages at QoS 2 that a client may leave half delivered.
const MOST_HALF_DELIVERED: usize = 100;

/// What we send and what was acknowledged. An acknowledgement is noted; nothing is ever sent again.
#[derive(Debug)]
pub(super) struct Outgoing {
    last: PacketId,
    in_flight: Vec<PacketId>,
    most_in_flight: usize,
    waiting: VecDeque<Answer>,
    /// The longest packet that the client takes, in bytes.
    pub(super) longest: usize,
}

impl Outgoing {
    /// Nothing sent yet, within the limits that the CONNECT names.
    pub(super) fn new(connect: &Connect) -> Outgoing {
        let most = connect.properties.receive_maximum().unwrap_or(MOST_IN_FLIGHT).min(MOST_IN_FLIGHT);
        let longest = connect.properties.maximum_packet_size().unwrap_or(u32::MAX);
        Outgoing {
            last: PacketId::MAX,
            in_flight: Vec::new(),
            most_in_flight: usize::from(most),
            waiting: VecDeque::new(),
            longest: usize::try_from(longest).unwrap_or(usize::MAX),
        }
    }

    /// Something to be sent, as soon as it is its turn.
    pub(super) fn push(&mut self, answer: Answer) {
        self.waiting.push_back(answer);
    }

    /// Whether so much waits for its turn that nothing should be added that nobody asked for.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING
    }

    /// The next packet whose turn it is.
    pub(super) fn next(&mut self) -> Option<Packet> {
        let needs_place = self.waiting.front()?.qos != Qos::AtMostOnce;
        if needs_place && self.in_flight.len() >= self.most_in_flight {
            return None;
        }
        let answer = self.waiting.pop_front()?;
        let delivery = if needs_place { Delivery::AtLeastOnce(self.next_id()) } else { Delivery::AtMostOnce };
        Some(Packet::Publish(Publish::new(answer.topic, delivery, answer.payload)))
    }

    /// The client has it.
    pub(super) fn acknowledged(&mut self, id: PacketId) {
        self.in_flight.retain(|open| *open != id);
    }

    /// It is not sent after all: nobody will acknowledge it.
    pub(super) fn dropped(&mut self, delivery: Delivery) {
        if let Some(id) = delivery.packet_id() {
            self.acknowledged(id);
        }
    }

    fn next_id(&mut self) -> PacketId {
        self.last = self.last.checked_add(1).unwrap_or(PacketId::MIN);
        self.in_flight.push(self.last);
        self.last
    }
}

/// Messages at QoS 2 that we have taken and the client has not released: sent again, they are not taken again.
#[derive(Debug, Default)]
pub(super) struct HalfDelivered(Vec<PacketId>);

impl HalfDelivered {
    /// Whether it was taken before.
    pub(super) fn has(&self, id: PacketId) -> bool {
        self.0.contains(&id)
    }

    /// Whether there is room for another one.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST_HALF_DELIVERED
    }

    /// It is taken.
    pub(super) fn take(&mut self, id: PacketId) {
        self.0.push(id);
    }

    /// It is released; says whether it was there.
    pub(super) fn release(&mut self, id: PacketId) -> bool {
        let before = self.0.len();
        self.0.retain(|open| *open != id);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        self.0.len() < before
    }
}
