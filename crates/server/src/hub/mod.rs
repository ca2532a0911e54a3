//! What connected devices are to this server.

mod calls;
mod inbox;
mod polls;
pub mod sessions;

pub use calls::Asked;
pub use inbox::Inbox;
pub use polls::{Ended, Poll, Topic};
