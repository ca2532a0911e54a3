//! What a user of the store would notice. SQLite in files: in memory there is no log and no sync.

mod house;
mod journal;
mod opening;
mod operators;
mod recording;
mod sealed;
mod telemetry;
