//! What a user of the store would notice. SQLite in files: in memory there is no log and no sync.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in what it calls")]
#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `View<'_>` is not general enough")]

mod full_disk;
mod house;
mod journal;
mod opening;
mod operators;
mod recording;
mod sealed;
mod telemetry;
