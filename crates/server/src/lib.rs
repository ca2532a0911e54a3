//! `musterd`: listeners, the wires devices speak, the operators' API. Business rules live elsewhere: a request
//! becomes the domain's words here, and an outcome becomes the wire's.
//!
//! A library so that tests run the server in their own process; [`serve::Server`] is all of it.

pub mod api;
pub mod certificates;
pub mod config;
pub mod connectors;
pub mod hooks;
pub mod hub;
pub mod key_providers;
pub mod layout;
pub mod listeners;
pub mod logging;
pub mod metrics;
pub mod mqtt;
pub mod outbound;
mod probes;
pub mod process;
pub mod protocols;
pub mod quickstart;
#[cfg(test)]
mod refusals;
pub mod restoring;
pub mod serve;
pub mod sign_on;
