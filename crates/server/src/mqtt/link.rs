//! Packets in and out of one connection, with nothing on the heap while it is idle.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use wire::mqtt::{self, DecodeError, Packet, Version};

use super::Stream;

/// How long a client may refuse to read what we send.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection that we end is kept for its last packets to arrive.
const CLOSING: Duration = Duration::from_secs(1);

/// One connection.
pub(crate) struct Link {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    version: Version,
    limit: usize,
    /// The client takes nothing more. What it has sent still counts.
    deaf: bool,
    /// It is there and has not read for too long, perhaps in the middle of a packet.
    stuck: bool,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Received {
    /// A packet.
    Packet(Packet),
    /// Bytes that are none.
    Broken(DecodeError),
    /// The end of the connection.
    End,
}

impl Link {
    /// A connection that takes packets up to `limit` bytes. The CONNECT says which version it speaks.
    pub(crate) fn new(stream: impl Into<Stream>, limit: usize) -> Link {
        let (stream, input, output) = (stream.into(), BytesMut::new(), BytesMut::new());
        Link { stream, input, output, version: Version::V311, limit, deaf: false, stuck: false }
    }

    /// The version spoken.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Speaks this version from now on.
    pub(crate) fn speak(&mut self, version: Version) {
        self.version = version;
    }

    /// The next packet, as soon as it is there. May be given up and called again.
    pub(crate) async fn receive(&mut self) -> Received {
        loop {
            if let Some(received) = self.received() {
                return received;
            }
            let (stream, input) = (&mut self.stream, &mut self.input);
            if !matches!(poll_fn(|context| stream.poll_fill(context, input)).await, Ok(1..)) {
                return Received::End;
            }
        }
    }

    /// The next packet, if it has come already.
    pub(crate) fn receive_now(&mut self) -> Option<Received> {
        loop {
            if let Some(received) = self.received() {
                return Some(received);
            }
            if !matches!(self.stream.fill_now(&mut self.input), Ok(1..)) {
                return None;
            }
        }
    }

    /// The next packet of those that were read.
    fn received(&mut self) -> Option<Received> {
        match mqtt::frame(&self.input, self.limit) {
            Err(error) => Some(Received::Broken(error)),
            Ok(Some(size)) if size <= self.input.len() => {
                let packet = self.input.split_to(size).freeze();
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                Some(mqtt::decode(&packet, self.version).map_or_else(Received::Broken, Received::Packet))
            }
            Ok(_) => None,
        }
    }

    /// Adds a packet to what is written next.
    pub(crate) fn send(&mut self, packet: &Packet) {
        if let Err(error) = packet.encode(self.version, &mut self.output) {
            tracing::error!(%error, "a packet of ours cannot be written");
        }
    }

    /// The bytes a packet takes.
    pub(crate) fn size_of(&self, packet: &Packet) -> usize {
        let mut bytes = BytesMut::new();
        packet.encode(self.version, &mut bytes).map_or(usize::MAX, |()| bytes.len())
    }

    /// Writes all that was sent, in one piece. A client that takes nothing is deaf from then on: that it is
    /// gone is no reason to drop what it has sent.
    pub(crate) async fn flush(&mut self) {
        let output = std::mem::take(&mut self.output);
        if output.is_empty() || self.deaf {
            return;
        }
        let rest = match self.stream.write_now(&output) {
            Ok(written) => output.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => &output[..],
            Err(_) => {
                self.deaf = true;
                return;
            }
        };
        if !rest.is_empty() {
            let written = tokio::time::timeout(WRITE_PATIENCE, self.stream.write_all(rest)).await;
            self.stuck = written.is_err();
            self.deaf = !matches!(written, Ok(Ok(())));
        }
    }

    /// Whether the client has not read for so long that it can never be told anything again.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Ends the connection so that what was written last arrives: closing a socket with unread bytes would
    /// reset it and take our last packet away from the client.
    pub(crate) async fn close(mut self) {
        self.flush().await;
        if self.deaf || self.stream.shutdown().await.is_err() {
            return;
        }
        let (stream, input) = (&mut self.stream, &mut self.input);
        let drain = async {
            while matches!(poll_fn(|context| stream.poll_fill(context, input)).await, Ok(1..)) {
                input.clear();
            }
        };
        // Whoever does not close in time is closed.
        let _ = tokio::time::timeout(CLOSING, drain).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};
    use wire::mqtt::{Delivery, Publish};

    /// More than the system keeps for a client that does not read.
    const TOO_MUCH: usize = 32 << 20;

    async fn connected() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Link::new(listener.accept().await.unwrap().0, 65_536), client)
    }

    fn send_too_much(link: &mut Link) {
        link.send(&Packet::Publish(Publish::new("t", Delivery::AtMostOnce, vec![0; TOO_MUCH])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_stuck_and_one_that_left_is_not() {
        let (mut link, _client) = connected().await;
        link.send(&Packet::Pingresp);
        link.flush().await;
        assert!(!link.is_stuck());
        send_too_much(&mut link);
        link.flush().await;
        assert!(link.is_stuck());

        let (mut link, client) = connected().await;
        drop(client);
        send_too_much(&mut link);
        link.flush().await;
        assert!(!link.is_stuck());
    }
}
