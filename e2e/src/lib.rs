//! What the end-to-end tests share: the built programs as processes, and the devices that talk to them.
//!
//! | Module | What it is for |
//! |---|---|
//! | [`musterd`] | a server on a folder and an address of its own, started as often as a test wants |
//! | [`muster`] | the operator's program: what it prints and how it ends |
//! | [`operator`] | the operator API, where a program for each call would be too slow |
//! | [`device`] | a device that speaks ThingsBoard's HTTP or MQTT |
//! | [`fleet`] | many devices at once, and the ledger of what they were promised |
//! | [`history`] | every value in the telemetry file, counted past the server |
//! | [`python`] | unmodified clients, and the programs of the ThingsBoard document |
//! | [`https`] | an HTTPS client that says which certificate it was shown |
//! | [`openid`] | a real OpenID provider, and people who sign on there |
//! | [`search`] | looking for secrets in whatever they could have leaked into |
//! | [`guessing`] | strangers who guess passwords and tokens |
//! | [`mqtt`] | MQTT packets, for what no device does |
//! | [`settings`] | how often and from which seed a test runs |
//!
//! Nothing here links the server: a test sees only what a user would see.

pub mod address;
pub mod device;
pub mod fleet;
pub mod guessing;
pub mod history;
pub mod https;
pub mod joined;
pub mod mqtt;
pub mod muster;
pub mod musterd;
pub mod node;
pub mod openid;
pub mod operator;
pub mod python;
pub mod search;
pub mod settings;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a test waits for something that is certain to come, before it fails. No test is about a time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A file or folder of this package.
#[must_use]
pub fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
