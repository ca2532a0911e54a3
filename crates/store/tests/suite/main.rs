//! What a user of the store would notice, on SQLite in files: in memory there is no log and no sync. The same
//! tests run on PostgreSQL from `postgres.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in what it calls")]
#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `View<'_>` is not general enough")]

mod attributes;
mod backup;
mod chains;
mod files;
mod full_disk;
mod house;
mod journal;
mod keks;
mod leaving;
mod once;
mod opening;
mod operators;
mod parked;
mod place;
mod questions;
mod recording;
mod saving;
mod sealed;
mod selecting;
mod steps;
mod telemetry;

/// Which database the suite runs on.
const POSTGRES: bool = false;
