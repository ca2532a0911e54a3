//! Bytes to typed messages and back, for every protocol Muster speaks; as server and as client.
//!
//! Pure: no sockets, clock, files or random source, and no knowledge of the domain. What a message means
//! is the business of the protocol modules of the server.

pub mod admin;
mod json;
pub mod mqtt;
pub mod openid;
pub mod proxy_protocol;
pub mod quotes;
pub mod secret;
pub mod thingsboard;
pub mod x509;

pub use secret::{Secret, SecretBytes};
