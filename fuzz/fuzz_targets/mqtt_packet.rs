//! MQTT packets. The first byte chooses the version, the rest is what came over the connection.
//!
//! Beyond not panicking: a packet that was read can be written, is read again as the same, and what is
//! written is never longer than what came (but for the fixed header, which is written at its shortest).

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use wire::mqtt::{Packet, Version, decode, frame};

const LIMIT: usize = 65_536;

fuzz_target!(|input: &[u8]| {
    let Some((&version, received)) = input.split_first() else { return };
    let version = [Version::V31, Version::V311, Version::V5][usize::from(version % 3)];
    let mut received = Bytes::copy_from_slice(received);
    while let Ok(Some(length)) = frame(&received, LIMIT) {
        assert!((2..=LIMIT).contains(&length));
        if length > received.len() {
            return;
        }
        check(&received.split_to(length), version);
    }
});

fn check(bytes: &Bytes, version: Version) {
    let Ok(packet) = decode(bytes, version) else { return };
    let version = if let Packet::Connect(connect) = &packet { connect.version } else { version };
    let once = written(&packet, version);
    // An acknowledgement with a reason gets its empty properties; nothing else grows.
    assert!(once.len() <= bytes.len() + 1, "{packet:?} grew from {} to {}", bytes.len(), once.len());
    let again = decode(&once, version).expect("what was written is read");
    assert_eq!(format!("{packet:?}"), format!("{again:?}"));
    assert_eq!(once, written(&again, version));
}

fn written(packet: &Packet, version: Version) -> Bytes {
    let mut out = BytesMut::new();
    packet.encode(version, &mut out).expect("what was read can be written");
    assert_eq!(frame(&out, out.len()), Ok(Some(out.len())));
    out.freeze()
}
