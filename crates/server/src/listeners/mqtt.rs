//! MQTT over TCP: connections, the deadline of CONNECT, and the way to the wire that claims it.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use wire::mqtt::{Connack, Connect, DecodeError, Packet, Property, ReasonCode, Version, return_code};

use super::sockets::{Accepted, accept};
use super::tls::Handshakes;
use super::{Front, Limit, Peer, Stop};
use crate::config;
use crate::hub::sessions::{Place, Sessions};
use crate::metrics::{Counted, MqttMetrics};
use crate::mqtt::{Claim, Hello, Link, MAX_PACKET, MqttSession, Received, Refused, Session, Stream};
use crate::protocols::Protocols;

/// What every connection needs.
pub struct Shared {
    protocols: Protocols,
    sessions: Arc<Sessions>,
    connect_timeout: Duration,
    metrics: MqttMetrics,
}

impl Shared {
    /// Wires and the registry of sessions behind the limits of the settings.
    pub fn new(protocols: Protocols, sessions: Arc<Sessions>, settings: &config::Mqtt) -> Shared {
        let connect_timeout = config::seconds(settings.connect_timeout_s);
        Shared { protocols, sessions, connect_timeout, metrics: MqttMetrics::default() }
    }
}

/// Serves MQTT on a socket until it is time to stop.
pub async fn serve(listener: TcpListener, limit: Limit, front: Front, shared: Arc<Shared>, stop: Stop) {
    let refused = shared.metrics.refused.clone();
    accept(listener, limit, stop.clone(), refused, |accepted| {
        let (shared, front, stop) = (Arc::clone(&shared), front.clone(), stop.clone());
        tokio::spawn(async move {
            let Accepted { mut stream, address, place } = accepted;
            let _counted = Counted::new(&shared.metrics.connections);
            match front.introduced(&mut stream, address).await {
                Some(address) => {
                    let peer = Peer { address, encrypted: false };
                    converse(stream, peer, None, &shared, stop).await;
                }
                None => shared.metrics.not_introduced.increment(1),
            }
            drop(place);
        });
    })
    .await;
}

/// Serves MQTT over TLS on a socket until it is time to stop.
pub async fn serve_tls(
    listener: TcpListener,
    limit: Limit,
    front: Front,
    shared: Arc<Shared>,
    handshakes: Handshakes,
    stop: Stop,
) {
    let refused = shared.metrics.refused.clone();
    accept(listener, limit, stop.clone(), refused, |accepted| {
        let (shared, front, stop) = (Arc::clone(&shared), front.clone(), stop.clone());
        let handshakes = handshakes.clone();
        tokio::spawn(async move {
            let Accepted { mut stream, address, place } = accepted;
            let _counted = Counted::new(&shared.metrics.connections);
            let Some(address) = front.introduced(&mut stream, address).await else {
                return shared.metrics.not_introduced.increment(1);
            };
            match handshakes.shake(stream).await {
                Some(stream) => {
                    let certificate = shown(&stream);
                    let peer = Peer { address, encrypted: true };
                    converse(stream, peer, certificate, &shared, stop).await;
                }
                None => shared.metrics.failed_handshakes.increment(1),
            }
            drop(place);
        });
    })
    .await;
}

/// The certificate that the client has shown.
fn shown(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let chain = stream.get_ref().1.peer_certificates()?;
    chain.first().map(|leaf| leaf.to_vec())
}

async fn converse(
    stream: impl Into<Stream>,
    peer: Peer,
    certificate: Option<Vec<u8>>,
    shared: &Shared,
    mut stop: Stop,
) {
    let mut link = Link::new(stream, MAX_PACKET);
    let received = tokio::select! {
        received = tokio::time::timeout(shared.connect_timeout, link.receive()) => received,
        () = stop.asked() => return,
    };
    let connect = match received {
        Ok(Received::Packet(Packet::Connect(connect))) => connect,
        Ok(Received::Broken(DecodeError::UnsupportedProtocolLevel(level))) => {
            return refuse_level(link, level).await;
        }
        Ok(_) => return,
        Err(_) => {
            shared.metrics.cut.increment(1);
            return;
        }
    };
    link.speak(connect.version);
    let hello = Hello { connect: &connect, peer, certificate: certificate.as_deref() };
    if let Some((client, place)) = admit(&mut link, hello, shared).await {
        welcome(&mut link, &connect);
        // The session may last for days: what came with its CONNECT need not.
        let session = Session::new(link, &connect, client, place, &shared.protocols.faces);
        drop((connect, certificate));
        session.run(stop).await;
    } else {
        link.close().await;
    }
}

/// A client that speaks a version that does not exist is told so in the nearest one that does.
async fn refuse_level(mut link: Link, level: u8) {
    if level > Version::V5.level() {
        link.speak(Version::V5);
    }
    let refused = Refused {
        v3: return_code::UNACCEPTABLE_PROTOCOL_VERSION,
        v5: ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
    };
    refuse(&mut link, refused);
    link.close().await;
}

fn refuse(link: &mut Link, refused: Refused) {
    let reason = if link.version() == Version::V5 { refused.v5 } else { refused.v3 };
    link.send(&Packet::Connack(Connack::new(reason)));
}

/// Lets a client in, or sends it its refusal.
async fn admit(
    link: &mut Link,
    hello: Hello<'_>,
    shared: &Shared,
) -> Option<(Box<dyn MqttSession>, Option<Place>)> {
    let connect = hello.connect;
    // A session that is to be continued needs a name (MQTT 3.1.1, section 3.1.3.1); 5.0 lets us make one.
    if connect.client_id.is_empty() && !connect.clean_start && connect.version != Version::V5 {
        let (v3, v5) = (return_code::IDENTIFIER_REJECTED, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        refuse(link, Refused { v3, v5 });
        return None;
    }
    loop {
        let closes = shared.sessions.closes();
        let welcome = match shared.protocols.claim(hello).await {
            Claim::Welcome(welcome) => welcome,
            Claim::Refused(refused) => {
                refuse(link, refused);
                return None;
            }
            Claim::NotMine => {
                refuse(link, Refused { v3: return_code::NOT_AUTHORIZED, v5: ReasonCode::NOT_AUTHORIZED });
                return None;
            }
        };
        let place = welcome.device.map(|it| shared.sessions.enter(it.device, it.generation));
        // A credential may have become void after it was looked at and before the session could be closed
        // for it; then it is looked at again.
        if place.is_none() || shared.sessions.closes() == closes {
            return Some((welcome.session, place));
        }
    }
}

fn welcome(link: &mut Link, connect: &Connect) {
    let mut connack = Connack::new(ReasonCode::SUCCESS);
    if connect.client_id.is_empty() {
        // Left out before MQTT 5.0, which wants it (section 3.2.2.3.7).
        let made = made_name();
        connack.properties.push(Property::AssignedClientIdentifier(made));
    }
    link.send(&Packet::Connack(connack));
}

/// A name for a client that brought none. We never look at it again: sessions are not kept.
fn made_name() -> String {
    let mut bytes = [0_u8; 10];
    // Without random numbers the name is not unique, and nobody asks that it is.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().fold(String::from("muster-"), |name, byte| name + &format!("{byte:02x}"))
}
