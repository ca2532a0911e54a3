//! Writes the data types of MQTT (section 1.5).

use bytes::{BufMut, BytesMut};

use super::{EncodeError, MAX_REMAINING_LENGTH};

/// Binary data with its length before it (section 1.5.6).
pub(super) fn binary(data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    let length = u16::try_from(data.len()).map_err(|_| EncodeError::FieldTooLong(data.len()))?;
    out.put_u16(length);
    out.put_slice(data);
    Ok(())
}

/// Text with its length before it (section 1.5.4).
pub(super) fn text(text: &str, out: &mut BytesMut) -> Result<(), EncodeError> {
    binary(text.as_bytes(), out)
}

/// A variable byte integer (section 1.5.5).
pub(super) fn varint(value: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    let (bytes, width) = varint_bytes(value)?;
    out.extend(bytes.into_iter().take(width));
    Ok(())
}

/// What `body` writes, with its length as a variable byte integer before it.
pub(super) fn length_prefixed(
    out: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_u8(0);
    body(out)?;
    let length = out.len() - start - 1;
    let (prefix, width) = varint_bytes(length)?;
    let end = out.len();
    out.put_bytes(0, width - 1);
    // All ranges end within `out`, which has just grown to `end + width - 1`.
    out.copy_within(start + 1..end, start + width);
    for (place, byte) in out.iter_mut().skip(start).zip(prefix.into_iter().take(width)) {
        *place = byte;
    }
    Ok(())
}

fn varint_bytes(value: usize) -> Result<([u8; 4], usize), EncodeError> {
    if value > MAX_REMAINING_LENGTH {
        return Err(EncodeError::PacketTooLong(value));
    }
    let width = match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    };
    let byte = |index: usize| {
        let continued = if index + 1 < width { 0x80 } else { 0 };
        (value >> (7 * index) & 0x7f) as u8 | continued
    };
    Ok(([byte(0), byte(1), byte(2), byte(3)], width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_written_in_the_fewest_bytes() {
        for (length, prefix) in [
            (0_usize, &[0x00][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
        ] {
            let mut out = BytesMut::from(&b"before"[..]);
            length_prefixed(&mut out, |out| {
                out.put_bytes(b'x', length);
                Ok(())
            })
            .unwrap();
            let mut expected = [b"before", prefix].concat();
            expected.resize(expected.len() + length, b'x');
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn an_integer_beyond_four_bytes_is_not_written() {
        let mut out = BytesMut::new();
        assert_eq!(varint(268_435_456, &mut out), Err(EncodeError::PacketTooLong(268_435_456)));
        assert!(varint(268_435_455, &mut out).is_ok());
        assert_eq!(out[..], [0xff, 0xff, 0xff, 0x7f]);
    }
}
