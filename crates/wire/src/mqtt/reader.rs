//! Reads the data types of MQTT (section 1.5) off one packet.

use bytes::Bytes;

use super::{DecodeError, PacketId, Version};

const SHORT: DecodeError = DecodeError::Malformed("packet ends in the middle of a field");

/// The bytes of a packet that have not been read yet.
pub(super) struct Reader<'a> {
    packet: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(packet: &'a Bytes) -> Self {
        Self { packet, rest: packet }
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (&value, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(value)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        let (&value, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(value))
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        let (&value, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(value))
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::Malformed("packet identifier is 0"))
    }

    /// A variable byte integer in the fewest bytes possible (section 1.5.5).
    pub(super) fn varint(&mut self) -> Result<usize, DecodeError> {
        let (value, width) = self.any_varint()?;
        if width > 1 && value < 1 << (7 * (width - 1)) {
            return Err(DecodeError::Malformed("integer is longer than needed"));
        }
        Ok(value)
    }

    /// The remaining length. Only MQTT 5.0 asks for the fewest bytes.
    pub(super) fn remaining_length(&mut self, version: Version) -> Result<usize, DecodeError> {
        if version == Version::V5 { self.varint() } else { Ok(self.any_varint()?.0) }
    }

    fn any_varint(&mut self) -> Result<(usize, usize), DecodeError> {
        let (value, width) = varint(self.rest)?.ok_or(SHORT)?;
        self.bytes(width)?;
        Ok((value, width))
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A part of the same packet that is read on its own.
    pub(super) fn part(&mut self, count: usize) -> Result<Reader<'a>, DecodeError> {
        Ok(Reader { packet: self.packet, rest: self.bytes(count)? })
    }

    /// Binary data with its length before it (section 1.5.6).
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    /// As [`Reader::binary`], sharing the packet's memory.
    pub(super) fn shared_binary(&mut self) -> Result<Bytes, DecodeError> {
        let data = self.binary()?;
        Ok(self.packet.slice_ref(data))
    }

    /// Text with its length before it (section 1.5.4); U+0000 is not text.
    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let data = self.binary()?;
        let text = std::str::from_utf8(data).map_err(|_| DecodeError::Malformed("text is not UTF-8"))?;
        if data.contains(&0) {
            return Err(DecodeError::Malformed("text holds U+0000"));
        }
        Ok(text)
    }

    /// A topic that is published to (section 4.7): text without wildcards.
    pub(super) fn topic(&mut self) -> Result<&'a str, DecodeError> {
        let topic = self.text()?;
        if topic.contains(['#', '+']) {
            return Err(DecodeError::Malformed("topic holds a wildcard"));
        }
        Ok(topic)
    }

    /// A topic filter (section 4.7): text, at least one character.
    pub(super) fn filter(&mut self) -> Result<&'a str, DecodeError> {
        let filter = self.text()?;
        if filter.is_empty() {
            return Err(DecodeError::Malformed("topic filter is empty"));
        }
        Ok(filter)
    }

    /// All that is left, sharing the packet's memory.
    pub(super) fn rest(&mut self) -> Bytes {
        let rest = self.packet.slice_ref(self.rest);
        self.rest = &[];
        rest
    }
}

/// The variable byte integer at the start of `bytes` and its width, or `None` while its end is missing.
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 {
        return Ok(None);
    }
    Err(DecodeError::Malformed("integer has more than four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_byte_integer_is_read_at_its_edges() {
        for (bytes, expected) in [
            (&[0x00][..], Some((0, 1))),
            (&[0x7f], Some((127, 1))),
            (&[0x80, 0x01], Some((128, 2))),
            (&[0xff, 0xff, 0xff, 0x7f], Some((268_435_455, 4))),
            (&[0x80, 0x80], None),
            (&[], None),
        ] {
            assert_eq!(varint(bytes), Ok(expected), "{bytes:x?}");
        }
        assert!(varint(&[0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn an_integer_that_is_longer_than_needed_is_malformed() {
        let packet = Bytes::from_static(&[0x81, 0x00]);
        assert!(Reader::new(&packet).varint().is_err());
        assert_eq!(Reader::new(&packet).remaining_length(Version::V311), Ok(1));
        assert!(Reader::new(&packet).remaining_length(Version::V5).is_err());
    }
}
