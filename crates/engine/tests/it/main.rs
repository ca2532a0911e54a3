//! The engine with all its threads over a real store, and neighbours that keep in memory what they were told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in what it calls")]

mod asked;
mod freezes;
mod house;
mod neighbour;
mod steps;
