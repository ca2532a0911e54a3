//! A device's part of ThingsBoard over MQTT (thingsboard page, sections 4.1 and 9.1).

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::mqtt::{
    self, Ack, Connect, Delivery, Disconnect, Filter, Packet, PacketId, Properties, Publish, Qos, ReasonCode,
    Subscribe, Version, return_code,
};
use wire::thingsboard::{Credentials, ProvisionRequest, topic};
use wire::{Secret, SecretBytes};
use zeroize::{Zeroize as _, Zeroizing};

use super::{DEFAULT_PATIENCE, connect, granted};
use crate::error::ClientError;

/// The longest packet that is read, in bytes (page, section 4.1, row 11).
const LONGEST_PACKET: usize = 64 * 1024;

/// How a session is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The version that is spoken.
    pub version: Version,
    /// How long the connection and each answer may take.
    pub patience: Duration,
}

impl Default for Options {
    /// MQTT 3.1.1, as most devices speak it.
    fn default() -> Self {
        Self { version: Version::V311, patience: DEFAULT_PATIENCE }
    }
}

/// How a device that has no credentials yet names itself in CONNECT (page, section 4.1, row 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Newcomer {
    /// By the user name `provision`.
    #[default]
    UserName,
    /// By the client id `provision`.
    ClientId,
    /// Not at all.
    Anonymous,
}

/// A session with a server. Its keep-alive is off: it is meant to end soon.
pub struct Session {
    server: String,
    stream: TcpStream,
    options: Options,
    received: BytesMut,
    outgoing: BytesMut,
    last_id: PacketId,
    subscribed: bool,
}

impl Session {
    /// Opens a session in which a device can only ask to be provisioned.
    ///
    /// # Errors
    /// Any [`ClientError`]; [`ClientError::Refused`] if the server takes no such sessions.
    pub async fn for_provisioning(
        server: &str,
        who: Newcomer,
        options: Options,
    ) -> Result<Self, ClientError> {
        let mut hello = hello(options.version);
        match who {
            Newcomer::UserName => hello.user_name = Some(Secret::from("provision")),
            Newcomer::ClientId => hello.client_id = "provision".to_owned(),
            Newcomer::Anonymous => {}
        }
        Self::open(server, hello, options).await
    }

    /// Opens a session with the credentials that a device was given (page, section 7.2).
    ///
    /// # Errors
    /// Any [`ClientError`]; [`ClientError::Refused`] if the server does not accept them.
    pub async fn log_in(
        server: &str,
        credentials: &Credentials,
        options: Options,
    ) -> Result<Self, ClientError> {
        let mut hello = hello(options.version);
        match credentials {
            Credentials::AccessToken(token) => hello.user_name = Some(token.clone()),
            Credentials::MqttBasic { client_id, user_name, password } => {
                hello.client_id.clone_from(client_id);
                hello.user_name = (!user_name.is_empty()).then(|| user_name.clone());
                hello.password = (!password.is_empty()).then(|| SecretBytes::from(password.expose()));
            }
            Credentials::X509(_) => {
                return Err(ClientError::Unsendable("a certificate needs a connection over TLS".to_owned()));
            }
        }
        Self::open(server, hello, options).await
    }

    /// Asks to be provisioned.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the status of the page, section 3.3; all others.
    pub async fn provision(&mut self, request: &ProvisionRequest) -> Result<Credentials, ClientError> {
        if !self.subscribed {
            let packet_id = self.next_id();
            let filters = vec![Filter::new(topic::PROVISION_RESPONSE, Qos::AtMostOnce)];
            self.put(&Packet::Subscribe(Subscribe {
                packet_id,
                properties: Properties::default(),
                filters,
            }))?;
            self.subscribed = true;
        }
        let packet_id = self.next_id();
        let payload = Bytes::from_owner(Zeroizing::new(request.to_json()));
        let delivery = Delivery::AtLeastOnce(packet_id);
        self.put(&Packet::Publish(Publish::new(topic::PROVISION_REQUEST, delivery, payload)))?;
        self.in_time("waiting for the answer", async |session| {
            session.flush().await?;
            session.provision_answer(packet_id).await
        })
        .await
    }

    /// Publishes telemetry (page, section 9.1) at QoS 1 and waits until the server has taken it over.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn telemetry(&mut self, payload: Bytes) -> Result<(), ClientError> {
        let packet_id = self.next_id();
        self.put(&Packet::Publish(Publish::new(
            topic::TELEMETRY,
            Delivery::AtLeastOnce(packet_id),
            payload,
        )))?;
        self.in_time("waiting for PUBACK", async |session| {
            session.flush().await?;
            session.acknowledgement(packet_id).await
        })
        .await
    }

    /// Says goodbye and closes the connection.
    ///
    /// # Errors
    /// [`ClientError::Connection`] if the goodbye cannot be sent.
    pub async fn disconnect(mut self) -> Result<(), ClientError> {
        self.put(&Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION)))?;
        self.in_time("saying goodbye", async |session| session.flush().await).await
    }

    async fn open(server: &str, hello: Connect, options: Options) -> Result<Self, ClientError> {
        let mut session = Self {
            server: server.to_owned(),
            stream: connect(server, options.patience).await?,
            options,
            received: BytesMut::with_capacity(512),
            outgoing: BytesMut::with_capacity(512),
            last_id: PacketId::MAX,
            subscribed: false,
        };
        session.put(&Packet::Connect(Box::new(hello)))?;
        session
            .in_time("waiting for CONNACK", async |session| {
                session.flush().await?;
                session.welcome().await
            })
            .await?;
        Ok(session)
    }

    async fn welcome(&mut self) -> Result<(), ClientError> {
        match self.read().await? {
            Packet::Connack(connack) if connack.reason == ReasonCode::SUCCESS => Ok(()),
            Packet::Connack(connack) => Err(self.refused_connect(connack.reason)),
            _ => Err(ClientError::protocol("the first packet is not CONNACK")),
        }
    }

    /// The answer comes behind SUBACK and PUBACK; a server that cannot answer now says so in the PUBACK.
    async fn provision_answer(&mut self, asked: PacketId) -> Result<Credentials, ClientError> {
        loop {
            match self.read().await? {
                Packet::Publish(publish) if publish.topic == topic::PROVISION_RESPONSE => {
                    return self.take_answer(publish).await;
                }
                Packet::Puback(ack) if ack.packet_id == asked => accepted(ack.reason)?,
                Packet::Suback(suback) => suback.reasons.iter().copied().try_for_each(accepted)?,
                other => ignore(&other)?,
            }
        }
    }

    async fn take_answer(&mut self, publish: Publish) -> Result<Credentials, ClientError> {
        let credentials = granted(&publish.payload);
        wipe(publish.payload);
        if let Delivery::AtLeastOnce(packet_id) = publish.delivery {
            self.put(&Packet::Puback(Ack::new(packet_id, ReasonCode::SUCCESS)))?;
            self.flush().await?;
        }
        credentials
    }

    async fn acknowledgement(&mut self, packet_id: PacketId) -> Result<(), ClientError> {
        loop {
            match self.read().await? {
                Packet::Puback(ack) if ack.packet_id == packet_id => return accepted(ack.reason),
                other => ignore(&other)?,
            }
        }
    }

    async fn in_time<T>(
        &mut self,
        action: &str,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        match timeout(self.options.patience, work(self)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ClientError::late(format!("{}: {action}", self.server))),
        }
    }

    fn next_id(&mut self) -> PacketId {
        self.last_id = self.last_id.checked_add(1).unwrap_or(PacketId::MIN);
        self.last_id
    }

    fn put(&mut self, packet: &Packet) -> Result<(), ClientError> {
        packet
            .encode(self.options.version, &mut self.outgoing)
            .map_err(|error| ClientError::Unsendable(error.to_string()))
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        let written = self.stream.write_all(&self.outgoing).await;
        self.outgoing.as_mut().zeroize();
        self.outgoing.clear();
        written.map_err(|cause| self.lost(cause))
    }

    async fn read(&mut self) -> Result<Packet, ClientError> {
        loop {
            if let Some(packet) = self.buffered()? {
                return Ok(packet);
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(ClientError::closed(format!("waiting for {}", self.server))),
                Ok(_) => {}
                Err(cause) => return Err(self.lost(cause)),
            }
        }
    }

    /// Takes the first whole packet out of the buffer. It is copied, so that the buffer can be wiped.
    fn buffered(&mut self) -> Result<Option<Packet>, ClientError> {
        let broken = |error: mqtt::DecodeError| ClientError::protocol(error.to_string());
        let Some(size) = mqtt::frame(&self.received, LONGEST_PACKET).map_err(broken)? else {
            return Ok(None);
        };
        let Some(bytes) = self.received.get_mut(..size) else { return Ok(None) };
        let packet = Bytes::copy_from_slice(bytes);
        bytes.zeroize();
        self.received.advance(size);
        mqtt::decode(&packet, self.options.version).map(Some).map_err(broken)
    }

    fn refused_connect(&self, reason: ReasonCode) -> ClientError {
        if self.options.version == Version::V5 {
            return refused(reason);
        }
        let message = match reason {
            return_code::SERVER_UNAVAILABLE => {
                return ClientError::Temporary {
                    message: "Server unavailable".to_owned(),
                    retry_after: None,
                };
            }
            return_code::UNACCEPTABLE_PROTOCOL_VERSION => "Unacceptable protocol version",
            return_code::IDENTIFIER_REJECTED => "Client identifier rejected",
            return_code::BAD_USER_NAME_OR_PASSWORD => "Bad user name or password",
            _ => "Not authorized",
        };
        ClientError::Refused { status: format!("CONNACK {}", reason.0), message: message.to_owned() }
    }

    fn lost(&self, cause: io::Error) -> ClientError {
        ClientError::connection(format!("waiting for {}", self.server), cause)
    }
}

fn hello(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive_s: 0,
        client_id: String::new(),
        will: None,
        user_name: None,
        password: None,
        properties: Properties::default(),
    }
}

/// A packet that nobody waits for. A DISCONNECT says why the server closes.
fn ignore(packet: &Packet) -> Result<(), ClientError> {
    match packet {
        Packet::Disconnect(disconnect) => Err(refused(disconnect.reason)),
        _ => Ok(()),
    }
}

fn accepted(reason: ReasonCode) -> Result<(), ClientError> {
    if reason.is_error() { Err(refused(reason)) } else { Ok(()) }
}

/// What a reason code of MQTT 5.0 means to the device; 0x83 and 0x97 are the server's temporary errors on this
/// page (sections 4.2 and 5.4).
fn refused(reason: ReasonCode) -> ClientError {
    let message = reason.name().unwrap_or("unknown reason").to_owned();
    match reason {
        ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
        | ReasonCode::SERVER_UNAVAILABLE
        | ReasonCode::SERVER_BUSY
        | ReasonCode::SERVER_SHUTTING_DOWN
        | ReasonCode::MESSAGE_RATE_TOO_HIGH
        | ReasonCode::QUOTA_EXCEEDED
        | ReasonCode::CONNECTION_RATE_EXCEEDED => ClientError::Temporary { message, retry_after: None },
        _ => ClientError::Refused { status: format!("0x{:02x}", reason.0), message },
    }
}

/// Wipes what nobody else holds.
fn wipe(bytes: Bytes) {
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.as_mut().zeroize();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.outgoing.as_mut().zeroize();
        self.received.as_mut().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::test_peer::Peer;

    const CONNACK: &[u8] = &[0x20, 2, 0, 0];
    const CONNACK_5: &[u8] = &[0x20, 3, 0, 0, 0];
    const SUBACK: &[u8] = &[0x90, 3, 0, 1, 0];
    const PUBACK: &[u8] = &[0x40, 2, 0, 2];
    const GRANTED: &str = r#"{"credentialsValue":"tok","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}"#;

    fn five() -> Options {
        Options { version: Version::V5, ..Options::default() }
    }

    fn answer(payload: &str, delivery: Delivery) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        let publish = Publish::new(topic::PROVISION_RESPONSE, delivery, payload.to_owned());
        Packet::Publish(publish).encode(Version::V311, &mut bytes).unwrap();
        bytes.to_vec()
    }

    /// Welcomes, then answers the request with `bytes` and closes.
    async fn provision_against(options: Options, bytes: Vec<u8>) -> (Result<Credentials, ClientError>, Peer) {
        let connack = if options.version == Version::V5 { CONNACK_5 } else { CONNACK };
        let script = vec![(b"provision".to_vec(), connack.to_vec()), (b"}".to_vec(), bytes)];
        let peer = Peer::playing(script).await;
        let mut session =
            Session::for_provisioning(&peer.address, Newcomer::UserName, options).await.unwrap();
        (session.provision(&ProvisionRequest::new("key", "secret")).await, peer)
    }

    #[tokio::test]
    async fn a_new_device_connects_subscribes_publishes_and_is_answered() {
        let bytes = [SUBACK, PUBACK, &answer(GRANTED, Delivery::AtMostOnce)].concat();
        let (credentials, peer) = provision_against(Options::default(), bytes).await;
        let Ok(Credentials::AccessToken(token)) = credentials else { panic!("not a token") };
        assert_eq!(token.expose(), "tok");
        let sent = peer.received_bytes().await;
        let connect: &[u8] = b"\x10\x17\x00\x04MQTT\x04\x82\x00\x00\x00\x00\x00\x09provision";
        let subscribe: &[u8] = b"\x82\x18\x00\x01\x00\x13/provision/response\x00";
        let expected = [connect, subscribe, &[0x32]].concat();
        assert_eq!(sent.get(..expected.len()), Some(&expected[..]));
    }

    #[tokio::test]
    async fn an_answer_at_qos_1_is_acknowledged_also_without_a_suback() {
        let id = PacketId::new(9).unwrap();
        let (credentials, peer) =
            provision_against(Options::default(), answer(GRANTED, Delivery::AtLeastOnce(id))).await;
        assert!(credentials.is_ok());
        assert!(peer.received_bytes().await.ends_with(&[0x40, 2, 0, 9]));
    }

    #[tokio::test]
    async fn a_refusal_carries_the_servers_words() {
        let refusal = r#"{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}"#;
        let bytes = [SUBACK, PUBACK, &answer(refusal, Delivery::AtMostOnce)].concat();
        let (outcome, _peer) = provision_against(Options::default(), bytes).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.to_string(), "the server refused: Provision data was not found! (NOT_FOUND)");
    }

    #[tokio::test]
    async fn a_server_that_cannot_answer_now_is_told_apart() {
        let overloaded = [0x40, 4, 0, 2, 0x83, 0].to_vec();
        let (outcome, _peer) = provision_against(five(), overloaded).await;
        assert!(matches!(outcome, Err(ClientError::Temporary { .. })));

        let (outcome, _peer) = provision_against(Options::default(), [SUBACK, PUBACK].concat()).await;
        let error = outcome.unwrap_err();
        assert!(matches!(error, ClientError::Connection { .. }), "{error}");
        assert!(error.is_temporary());
    }

    #[tokio::test]
    async fn a_disconnect_says_why() {
        let (outcome, _peer) = provision_against(five(), [0xe0, 2, 0x90, 0].to_vec()).await;
        assert_eq!(outcome.unwrap_err().to_string(), "the server refused: Topic Name invalid (0x90)");
    }

    #[tokio::test]
    async fn bytes_that_are_no_mqtt_are_told_apart() {
        let web = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: 64\r\n\r\n{}", " ".repeat(64));
        let endless: &[u8] = &[0x20, 0xff, 0xff, 0xff, 0xff, 0x01];
        let long: &[u8] = &[0x30, 0xff, 0xff, 0x7f];
        for bytes in [web.as_bytes(), endless, long] {
            let peer = Peer::playing(vec![(b"tok".to_vec(), bytes.to_vec())]).await;
            let token = Credentials::AccessToken(Secret::from("tok"));
            let error = Session::log_in(&peer.address, &token, Options::default()).await.err().unwrap();
            assert!(matches!(error, ClientError::Protocol(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn a_wrong_token_is_refused_and_an_unavailable_server_is_not_final() {
        let token = Credentials::AccessToken(Secret::from("tok"));
        for (connack, options, expected) in [
            (&[0x20, 2, 0, 5][..], Options::default(), "the server refused: Not authorized (CONNACK 5)"),
            (&[0x20, 2, 0, 3], Options::default(), "the server cannot answer now: Server unavailable"),
            (&[0x20, 3, 0, 0x86, 0], five(), "the server refused: Bad User Name or Password (0x86)"),
            (&[0x20, 3, 0, 0x9f, 0], five(), "the server cannot answer now: Connection rate exceeded"),
        ] {
            let peer = Peer::playing(vec![(b"tok".to_vec(), connack.to_vec())]).await;
            let error = Session::log_in(&peer.address, &token, options).await.err().unwrap();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[tokio::test]
    async fn telemetry_waits_for_its_own_puback_however_the_bytes_are_cut() {
        let script = vec![
            (b"tok".to_vec(), CONNACK.to_vec()),
            (b"}".to_vec(), vec![0xd0, 0, 0x40, 2, 0, 7, 0x40]),
            (Vec::new(), vec![2, 0, 1]),
        ];
        let peer = Peer::playing(script).await;
        let token = Credentials::AccessToken(Secret::from("tok"));
        let mut session = Session::log_in(&peer.address, &token, Options::default()).await.unwrap();
        session.telemetry(Bytes::from_static(b"{\"t\":1}")).await.unwrap();
        session.disconnect().await.unwrap();
        assert!(peer.received_bytes().await.ends_with(b"{\"t\":1}\xe0\x00"));
    }

    #[tokio::test]
    async fn basic_credentials_fill_the_fields_of_connect() {
        let peer = Peer::playing(vec![(b"pass".to_vec(), CONNACK.to_vec())]).await;
        let basic = Credentials::MqttBasic {
            client_id: "cid".to_owned(),
            user_name: Secret::from("user"),
            password: Secret::from("pass"),
        };
        drop(Session::log_in(&peer.address, &basic, Options::default()).await.unwrap());
        let sent = peer.received_bytes().await;
        assert!(sent.ends_with(b"\x04\xc2\x00\x00\x00\x03cid\x00\x04user\x00\x04pass"), "{sent:?}");
    }

    #[tokio::test]
    async fn a_silent_server_does_not_hold_the_device_for_ever() {
        let peer = Peer::playing(vec![(b"never sent".to_vec(), Vec::new())]).await;
        let options = Options { patience: Duration::from_millis(50), ..Options::default() };
        let error =
            Session::for_provisioning(&peer.address, Newcomer::Anonymous, options).await.err().unwrap();
        assert!(error.to_string().ends_with("waiting for CONNACK: no answer in time"), "{error}");
    }
}
