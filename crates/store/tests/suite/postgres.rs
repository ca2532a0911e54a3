//! The suite of `main.rs` on a PostgreSQL that it starts itself, and what only several servers can show.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in what it calls")]
#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `View<'_>` is not general enough")]

mod attributes;
mod backup;
mod chains;
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
mod races;
mod recording;
mod saving;
mod sealed;
mod selecting;
mod servers;
mod steps;
mod telemetry;
mod together;

/// Which database the suite runs on.
const POSTGRES: bool = true;
