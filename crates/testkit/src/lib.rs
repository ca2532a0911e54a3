//! What tests share.
//!
//! | Module | What it is for |
//! |---|---|
//! | [`power_cut`] | what a disk holds when the power fails under an unmodified program |
//! | [`process`] | programs under test: their output, their end, no orphan |
//! | [`receiver`] | a neighbour for connectors and hooks that keeps what it was told, and can misbehave |
//! | [`wait`] | waiting for a state instead of for a time; free ports |
//! | [`postgres`] | a PostgreSQL of a test's own |
//! | [`netns`] | a network of its own for programs with fixed ports |
//! | [`loopfs`] | a small file system that can be filled to the last byte |
//! | [`http`], [`mqtt`] | blocking clients that let a test see every byte |
//!
//! Nothing here links the server, so a test sees only what a user would see. Everything returns an
//! error that says what to do; nothing is skipped in silence.

pub mod http;
pub mod loopfs;
pub mod mqtt;
pub mod netns;
pub mod postgres;
pub mod power_cut;
pub mod process;
pub mod receiver;
mod shim;
pub mod wait;

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs a command of the system to its end; the error carries what it printed.
fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, said.trim());
    Ok(())
}

/// A name that no other test of this machine uses at the moment.
fn unique_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("muster-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
