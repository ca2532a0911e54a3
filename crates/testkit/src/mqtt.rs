//! A blocking MQTT connection that sends and reads bytes, packet by packet, and understands none
//! of them but the length (MQTT 3.1.1 and 5, section 2.1.4: remaining length).

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long a read waits before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection.
#[derive(Debug)]
pub struct MqttConnection {
    stream: TcpStream,
}

impl MqttConnection {
    /// Connects TCP; sends nothing.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn open(address: impl ToSocketAddrs) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Sends bytes written as hex; blanks and line ends are read over.
    ///
    /// # Errors
    /// If it is no hex, or the connection is gone.
    pub fn send_hex(&mut self, hex: &str) -> Result<()> {
        self.send(&from_hex(hex)?)
    }

    /// Tells the server that nothing more will be sent; packets can still be read.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn finish_sending(&self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// The next whole packet, or `None` if the server closed or reset the connection between two.
    ///
    /// # Errors
    /// If nothing comes, or the connection ends within a packet.
    pub fn read_packet(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(first) = self.read_first()? else { return Ok(None) };
        let mut packet = vec![first];
        let length = self.read_remaining_length(&mut packet)?;
        let start = packet.len();
        packet.resize(start + length, 0);
        self.stream.read_exact(packet.get_mut(start..).unwrap_or_default()).context("half a packet")?;
        Ok(Some(packet))
    }

    /// As [`MqttConnection::read_packet`], as lower-case hex.
    ///
    /// # Errors
    /// As [`MqttConnection::read_packet`].
    pub fn read_packet_hex(&mut self) -> Result<Option<String>> {
        Ok(self.read_packet()?.map(|packet| to_hex(&packet)))
    }

    fn read_first(&mut self) -> Result<Option<u8>> {
        let mut first = [0];
        match self.stream.read(&mut first) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(first[0])),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error).context("no packet came"),
        }
    }

    fn read_remaining_length(&mut self, packet: &mut Vec<u8>) -> Result<usize> {
        let mut length = 0;
        for place in 0..4 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).context("half a packet")?;
            packet.push(byte[0]);
            length |= usize::from(byte[0] & 0x7f) << (7 * place);
            if byte[0] & 0x80 == 0 {
                return Ok(length);
            }
        }
        bail!("a remaining length of more than four bytes: {}", to_hex(packet))
    }
}

/// Lower-case hex without blanks.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The bytes of hex in either case; white space is read over.
///
/// # Errors
/// If there is anything else in it, or half a byte.
pub fn from_hex(hex: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    ensure!(digits.len().is_multiple_of(2), "half a byte at the end of {hex:?}");
    digits.chunks(2).map(|pair| byte_from(pair).with_context(|| format!("no hex: {hex:?}"))).collect()
}

fn byte_from(pair: &[u8]) -> Option<u8> {
    pair.iter().try_fold(0, |byte: u8, digit| Some((byte << 4) | char::from(*digit).to_digit(16)? as u8))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (MqttConnection, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let connection = MqttConnection::open(listener.local_addr().unwrap()).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    #[test]
    fn packets_are_told_apart_by_their_length() {
        let (mut mqtt, mut server) = pair();
        let mut long = from_hex("30 80 01").unwrap();
        long.resize(3 + 128, 0x61);
        server.write_all(&[&from_hex("20020000").unwrap(), &long[..], &[0xd0, 0]].concat()).unwrap();
        drop(server);
        assert_eq!(mqtt.read_packet_hex().unwrap().unwrap(), "20020000");
        assert_eq!(mqtt.read_packet().unwrap().unwrap(), long);
        assert_eq!(mqtt.read_packet_hex().unwrap().unwrap(), "d000");
        assert_eq!(mqtt.read_packet().unwrap(), None);
    }

    #[test]
    fn half_a_packet_is_an_error() {
        let (mut mqtt, mut server) = pair();
        server.write_all(&[0x20, 2, 0]).unwrap();
        drop(server);
        assert!(mqtt.read_packet().is_err());
    }

    #[test]
    fn hex_that_is_none_is_refused() {
        assert_eq!(from_hex(" C0\n00 ").unwrap(), [0xc0, 0]);
        assert!(from_hex("c").is_err() && from_hex("+1").is_err() && from_hex("zz").is_err());
    }
}
