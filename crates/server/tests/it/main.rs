//! The server in process, spoken to over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end in any of them")]

mod asked;
mod asking;
mod certificates;
mod connector_contract;
mod conversation;
mod desk;
mod feed;
mod hooks;
mod listeners;
mod openid;
mod operator_api;
mod problems;
mod repeated;
mod replay;
mod roles;
mod running;
mod selectors;
mod sessions;
mod thingsboard_devices;
mod thingsboard_rest;
mod thingsboard_values;
mod unclosed;
mod webhook_manual;
