//! What a user of the store would notice. SQLite in files: in memory there is no log and no sync.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in what it calls")]

mod full_disk;
mod house;
mod journal;
mod opening;
mod operators;
mod recording;
mod sealed;
mod telemetry;
