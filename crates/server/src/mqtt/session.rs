//! One session: packets in order, one request at a time, acknowledgements, keep-alive, and an end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::mqtt::{
    Ack, Connect, Delivery, Disconnect, Packet, PacketId, Properties, Publish, ReasonCode, Suback, Subscribe,
    Unsuback, Unsubscribe, Version,
};

use super::outgoing::{HalfDelivered, Outgoing};
use super::{Link, MqttSession, Received, Verdict};
use crate::hub::Inbox;
use crate::hub::sessions::{Kick, Place};
use crate::listeners::Stop;
use crate::protocols::Faces;

/// The most packets that a session which was taken over still carries out, of those that have arrived.
const MOST_LAST_PACKETS: usize = 100;

/// The most packets of one client that are carried out before others have their turn.
const MOST_AT_ONCE: usize = 64;

/// When nothing else says when a session ends.
const FAR: Duration = Duration::from_secs(86_400);

/// A session and all that belongs to it.
pub(crate) struct Session<'a> {
    link: Link,
    client: Box<dyn MqttSession>,
    faces: &'a Faces,
    place: Option<Place>,
    inbox: Option<Arc<Inbox>>,
    outgoing: Outgoing,
    half_delivered: HalfDelivered,
    keep_alive: Option<Duration>,
    heard_at: Instant,
    /// Something that a client waits for is among what is written next.
    acknowledged: bool,
    kick: Option<Kick>,
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client is gone, or said goodbye.
    Quiet,
    /// We end it; MQTT 5.0 says why.
    Because(ReasonCode),
}

impl<'a> Session<'a> {
    /// A session that was just opened; the CONNACK stands in `link`'s output.
    pub(crate) fn new(
        link: Link,
        connect: &Connect,
        client: Box<dyn MqttSession>,
        place: Option<Place>,
        faces: &'a Faces,
    ) -> Session<'a> {
        // The server waits one and a half times the keep alive (MQTT 5.0, section 3.1.2.10); 0 = for ever.
        let keep_alive = u64::from(connect.keep_alive_s) * 1500;
        Session {
            link,
            client,
            faces,
            inbox: place.as_ref().map(Place::inbox),
            place,
            outgoing: Outgoing::new(connect),
            half_delivered: HalfDelivered::default(),
            keep_alive: (keep_alive > 0).then(|| Duration::from_millis(keep_alive)),
            heard_at: Instant::now(),
            acknowledged: false,
            kick: None,
        }
    }

    /// Carries the session to its end.
    pub(crate) async fn run(mut self, mut stop: Stop) {
        let end = self.converse(&mut stop).await;
        if let End::Because(reason) = end {
            self.say_goodbye(reason);
            self.link.close().await;
        }
    }

    fn say_goodbye(&mut self, reason: ReasonCode) {
        if self.link.version() == Version::V5 {
            self.link.send(&Packet::Disconnect(Disconnect::new(reason)));
        }
    }

    async fn converse(&mut self, stop: &mut Stop) -> End {
        let mut alarm = Box::pin(tokio::time::sleep_until(self.ends_at().into()));
        loop {
            let end = self.carry_out_what_came(MOST_AT_ONCE).await;
            self.link.flush().await;
            self.acknowledged = false;
            if let Some(end) = end {
                return end;
            }
            if self.link.is_stuck() {
                // It would wait for ever for acknowledgements that were not written.
                return self.leave(ReasonCode::UNSPECIFIED_ERROR).await;
            }
            if let Some(kick) = self.kick.take() {
                return self.leave(kick.into()).await;
            }
            alarm.as_mut().reset(self.ends_at().into());
            let received = tokio::select! {
                biased;
                kick = kicked(&mut self.place) => return self.leave(kick.into()).await,
                () = stop.asked() => return self.leave(ReasonCode::SERVER_SHUTTING_DOWN).await,
                () = &mut alarm => return End::Because(self.why_it_ends()),
                () = rung(self.inbox.as_deref()) => {
                    self.listen().await;
                    continue;
                }
                received = self.link.receive() => received,
            };
            if let Some(end) = self.carry_out(received).await {
                return end;
            }
        }
    }

    /// Carries out what has arrived, up to `most` packets; more is not waited for.
    async fn carry_out_what_came(&mut self, most: usize) -> Option<End> {
        for _ in 0..most {
            let received = self.link.receive_now()?;
            let end = self.carry_out(received).await;
            if end.is_some() || self.kick.is_some() {
                return end;
            }
        }
        // A client that never pauses must not keep others waiting.
        tokio::task::yield_now().await;
        None
    }

    /// Sends what waits for the device. Where it does not take what it was sent, the rest waits.
    async fn listen(&mut self) {
        let Some(inbox) = self.inbox.as_ref().filter(|_| !self.outgoing.is_full()) else { return };
        for answer in self.client.listen(inbox, self.faces).await {
            self.outgoing.push(answer);
        }
        self.send_what_may_go();
    }

    /// Something may be to be sent that could not be before.
    fn look_again(&self) {
        if let Some(inbox) = &self.inbox {
            inbox.ring();
        }
    }

    /// What had arrived before we end the session is still carried out: a device that connected anew left
    /// nothing behind that counts less. One whose credential is void has no more to say.
    async fn leave(&mut self, reason: ReasonCode) -> End {
        if reason == ReasonCode::ADMINISTRATIVE_ACTION {
            return End::Because(reason);
        }
        self.carry_out_what_came(MOST_LAST_PACKETS).await.unwrap_or(End::Because(reason))
    }

    /// The keep-alive's end or the session's own, whichever comes first.
    fn ends_at(&self) -> Instant {
        let silent = self.keep_alive.map(|keep_alive| self.heard_at + keep_alive);
        let own = self.client.ends_at();
        silent.into_iter().chain(own).min().unwrap_or_else(|| Instant::now() + FAR)
    }

    /// A session's own end is not the client's silence.
    fn why_it_ends(&self) -> ReasonCode {
        let own_end = self.client.ends_at().is_some_and(|end| end <= Instant::now());
        if own_end { ReasonCode::MAXIMUM_CONNECT_TIME } else { ReasonCode::KEEP_ALIVE_TIMEOUT }
    }

    async fn carry_out(&mut self, received: Received) -> Option<End> {
        let packet = match received {
            Received::Packet(packet) => packet,
            Received::End => return Some(End::Quiet),
            // What the page calls a packet that is too large is what the standard calls malformed.
            Received::Broken(wire::mqtt::DecodeError::TooLarge { .. }) => {
                return Some(End::Because(ReasonCode::MALFORMED_PACKET));
            }
            Received::Broken(error) => return Some(End::Because(error.reason())),
        };
        self.heard_at = Instant::now();
        self.client.heard(self.faces);
        match packet {
            Packet::Publish(message) => return self.publish(message).await,
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            Packet::Pingreq => self.link.send(&Packet::Pingresp),
            Packet::Disconnect(_) => return Some(End::Quiet),
            Packet::Puback(ack) => {
                let was_full = self.outgoing.is_full();
                self.outgoing.acknowledged(ack.packet_id);
                self.send_what_may_go();
                if was_full && !self.outgoing.is_full() {
                    self.look_again();
                }
            }
            Packet::Pubrel(ack) => self.release(ack.packet_id),
            Packet::Connect(_) => return Some(End::Because(ReasonCode::PROTOCOL_ERROR)),
            // Everything else is ignored (thingsboard page, section 4.1, point 7).
            Packet::Auth(_)
            | Packet::Pubrec(_)
            | Packet::Pubcomp(_)
            | Packet::Connack(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingresp => {}
        }
        None
    }

    fn subscribe(&mut self, subscribe: &Subscribe) {
        let refused = match self.link.version() {
            Version::V5 => ReasonCode::TOPIC_FILTER_INVALID,
            Version::V31 | Version::V311 => wire::mqtt::return_code::SUBSCRIBE_FAILURE,
        };
        let grant = |filter: &wire::mqtt::Filter| {
            let granted = self.client.subscribe(&filter.filter, filter.qos);
            granted.map_or(refused, |qos| ReasonCode(qos as u8))
        };
        let reasons = subscribe.filters.iter().map(grant).collect();
        self.link.send(&Packet::Suback(Suback {
            packet_id: subscribe.packet_id,
            properties: Properties::default(),
            reasons,
        }));
        self.look_again();
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let end = |filter: &String| match self.client.unsubscribe(filter) {
            true => ReasonCode::SUCCESS,
            false => ReasonCode::NO_SUBSCRIPTION_EXISTED,
        };
        let reasons = unsubscribe.filters.iter().map(end).collect();
        self.link.send(&Packet::Unsuback(Unsuback {
            packet_id: unsubscribe.packet_id,
            properties: Properties::default(),
            reasons,
        }));
    }

    async fn publish(&mut self, message: Publish) -> Option<End> {
        if message.properties.topic_alias().is_some() {
            // We allow none (MQTT 5.0, section 3.3.2.3.4).
            return Some(End::Because(ReasonCode::TOPIC_ALIAS_INVALID));
        }
        if let Delivery::ExactlyOnce(id) = message.delivery {
            if self.half_delivered.has(id) {
                self.acknowledge(message.delivery, ReasonCode::SUCCESS);
                return None;
            }
            if self.half_delivered.is_full() {
                return Some(End::Because(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED));
            }
        }
        if self.acknowledged {
            // Its sender need not wait for what comes after it.
            self.link.flush().await;
            self.acknowledged = false;
        }
        let verdict = self.judge(&message).await;
        self.apply(&message, verdict)
    }

    /// What the protocol says to a message. A kick is noticed meanwhile: one that voids the credential ends
    /// the session at once, another one after this message.
    async fn judge(&mut self, message: &Publish) -> Verdict {
        let mut request = self.client.publish(message, self.inbox.as_ref(), self.faces);
        loop {
            tokio::select! {
                biased;
                verdict = &mut request => return verdict,
                kick = kicked(&mut self.place), if self.kick.is_none() => match kick {
                    Kick::TakenOver => self.kick = Some(kick),
                    Kick::Void => return Verdict::Fatal(kick.into()),
                },
            }
        }
    }

    fn apply(&mut self, message: &Publish, verdict: Verdict) -> Option<End> {
        let (v5, acknowledged) = (self.link.version() == Version::V5, message.delivery.packet_id().is_some());
        match verdict {
            Verdict::Taken => self.acknowledge(message.delivery, ReasonCode::SUCCESS),
            // A device that takes none of its answers gets no more of them.
            Verdict::Answered(_) if self.outgoing.is_full() => {
                self.acknowledge(message.delivery, ReasonCode::QUOTA_EXCEEDED);
            }
            Verdict::Answered(answer) => {
                self.acknowledge(message.delivery, ReasonCode::SUCCESS);
                self.outgoing.push(answer);
                self.send_what_may_go();
            }
            Verdict::Dropped(reason) => self.acknowledge(message.delivery, reason),
            Verdict::Unusable(reason) if v5 && acknowledged => self.acknowledge(message.delivery, reason),
            Verdict::Unusable(reason) => return Some(End::Because(reason)),
            Verdict::Fatal(reason) => {
                if v5 {
                    self.acknowledge(message.delivery, reason);
                }
                return Some(End::Because(reason));
            }
        }
        None
    }

    /// Acknowledges a message above QoS 0. Before MQTT 5.0 no reason can be given.
    fn acknowledge(&mut self, delivery: Delivery, reason: ReasonCode) {
        match delivery {
            Delivery::AtMostOnce => return,
            Delivery::AtLeastOnce(id) => self.link.send(&Packet::Puback(Ack::new(id, reason))),
            Delivery::ExactlyOnce(id) => {
                // A refused message is over and done with (MQTT 5.0, section 4.3.3); before, all are good.
                let open = !reason.is_error() || self.link.version() != Version::V5;
                if open && !self.half_delivered.has(id) {
                    self.half_delivered.take(id);
                }
                self.link.send(&Packet::Pubrec(Ack::new(id, reason)));
            }
        }
        self.acknowledged = true;
    }

    fn release(&mut self, id: PacketId) {
        let found = self.half_delivered.release(id);
        let reason = if found { ReasonCode::SUCCESS } else { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
        self.link.send(&Packet::Pubcomp(Ack::new(id, reason)));
    }

    fn send_what_may_go(&mut self) {
        while let Some(packet) = self.outgoing.next() {
            // A packet that its client does not take is dropped (MQTT 5.0, section 3.1.2.11.4).
            if self.link.size_of(&packet) <= self.outgoing.longest {
                self.link.send(&packet);
            } else if let Packet::Publish(dropped) = packet {
                self.outgoing.dropped(dropped.delivery);
            }
        }
    }
}

impl From<Kick> for ReasonCode {
    /// Thingsboard page, sections 7.2 and 9.1.
    fn from(kick: Kick) -> ReasonCode {
        match kick {
            Kick::TakenOver => ReasonCode::SESSION_TAKEN_OVER,
            Kick::Void => ReasonCode::ADMINISTRATIVE_ACTION,
        }
    }
}

/// Waits for a kick; a session without a place in the registry gets none.
async fn kicked(place: &mut Option<Place>) -> Kick {
    match place {
        Some(place) => place.kicked().await,
        None => std::future::pending().await,
    }
}

/// Waits for the inbox to ring; a session without one hears nothing.
async fn rung(inbox: Option<&Inbox>) {
    match inbox {
        Some(inbox) => inbox.something().await,
        None => std::future::pending().await,
    }
}
