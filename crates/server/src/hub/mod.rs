//! What connected devices are to this server.

pub mod sessions;
