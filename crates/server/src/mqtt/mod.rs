//! The MQTT endpoint: packets, acknowledgements, time; what is said in them is a protocol's business.

mod link;
mod outgoing;
mod session;
mod stream;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use engine::Connected;
use wire::mqtt::{Connect, Publish, Qos, ReasonCode};

use crate::hub::Inbox;
use crate::listeners::Peer;
use crate::protocols::{Faces, Task};

pub(crate) use link::{Link, Received};
pub(crate) use session::Session;
pub(crate) use stream::Stream;

/// The longest packet taken, in bytes (thingsboard page, section 4.1, point 11).
pub const MAX_PACKET: usize = 65_536;

/// What a client brings when it connects.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// Its CONNECT.
    pub connect: &'a Connect,
    /// Who is at the other end.
    pub peer: Peer,
    /// The DER of the certificate that it has shown in the handshake, where it has shown one. Its private key is there;
    /// nothing else of it has been judged.
    pub certificate: Option<&'a [u8]>,
}

/// What a protocol says to a CONNECT.
pub enum Claim {
    /// Somebody else's.
    NotMine,
    /// Mine, and no.
    Refused(Refused),
    /// Mine, and welcome.
    Welcome(Welcome),
}

/// The two ways in which a CONNACK says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Before MQTT 5.0.
    pub v3: ReasonCode,
    /// In MQTT 5.0.
    pub v5: ReasonCode,
}

/// A client that may come in.
pub struct Welcome {
    /// The device that it is, where it has shown that it is one.
    pub device: Option<Connected>,
    /// What it may do.
    pub session: Box<dyn MqttSession>,
}

/// What a client may do in its session.
pub trait MqttSession: Send {
    /// The quality of service that a subscription gets; `None` refuses it.
    fn subscribe(&mut self, filter: &str, asked: Qos) -> Option<Qos>;

    /// Ends a subscription; says whether there was one.
    fn unsubscribe(&mut self, filter: &str) -> bool;

    /// Takes a message. What it says is acknowledged only after this is over; what takes longer is put into the
    /// inbox, which only a device's session has.
    fn publish<'a>(
        &'a mut self,
        message: &'a Publish,
        inbox: Option<&'a Arc<Inbox>>,
        faces: &'a Faces,
    ) -> Task<'a, Verdict>;

    /// A packet of any kind has come from the client.
    fn heard(&self, _faces: &Faces) {}

    /// What the device is told of its own accord, now that something may wait for it: after the inbox has rung, and
    /// after it has subscribed.
    fn listen<'a>(&'a mut self, _inbox: &'a Arc<Inbox>, _faces: &'a Faces) -> Task<'a, Vec<Answer>> {
        Box::pin(async { Vec::new() })
    }

    /// When the session ends by itself, whatever the client does.
    fn ends_at(&self) -> Option<Instant> {
        None
    }
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is acknowledged.
    Taken,
    /// It is acknowledged, and then this is sent.
    Answered(Answer),
    /// It is dropped: acknowledged with this reason in MQTT 5.0, plainly before.
    Dropped(ReasonCode),
    /// It cannot be used: in MQTT 5.0 above QoS 0 it is acknowledged with this reason; else the connection ends.
    Unusable(ReasonCode),
    /// The connection ends; in MQTT 5.0 with this reason. It is never acknowledged as good.
    Fatal(ReasonCode),
}

/// A message of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its topic.
    pub topic: Cow<'static, str>,
    /// 0 or 1.
    pub qos: Qos,
    /// What it says.
    pub payload: Bytes,
}
