//! The device side: clients for the protocols that Muster serves.
//!
//! A client does one device's part of one protocol over one connection. It does not retry, does not keep
//! credentials and has no opinion about what to do next; [`ClientError`] says what a caller needs for that.

pub mod clients;
mod error;

pub use error::ClientError;
