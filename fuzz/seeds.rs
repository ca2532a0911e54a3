//! Writes the starting corpora of all targets to `corpus/`, from the recordings in `crates/wire/testdata`:
//! documents and certificates as they are, MQTT packets as one byte for the version and the packet.
//!
//! Run from anywhere: `cargo run --manifest-path fuzz/Cargo.toml --bin seeds`.

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (testdata, corpus) = (here.join("../crates/wire/testdata"), here.join("corpus"));
    for target in ["provision_request", "provision_response", "telemetry"] {
        copy_documents(&testdata.join("thingsboard").join(target), &corpus.join(target))?;
    }
    copy_documents(&testdata.join("x509"), &corpus.join("certificate"))?;
    write_packets(&testdata.join("mqtt/packets.txt"), &corpus.join("mqtt_packet"))
}

fn copy_documents(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

fn write_packets(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for (number, line) in fs::read_to_string(from)?.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        fs::write(to.join(format!("line-{}", number + 1)), seed(line)?)?;
    }
    Ok(())
}

/// The seed of one line `version | name | packet in hex`.
fn seed(line: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut columns = line.split('|').map(str::trim);
    let (version, packet) = (columns.next(), columns.nth(1).ok_or("line without a packet")?);
    let version = match version {
        Some("3.1") => 0,
        Some("3.1.1") => 1,
        Some("5") => 2,
        _ => return Err("line without a version".into()),
    };
    let mut seed = vec![version];
    for byte in packet.split_ascii_whitespace() {
        seed.push(u8::from_str_radix(byte, 16)?);
    }
    Ok(seed)
}
