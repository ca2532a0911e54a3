//! The log: lines to standard error, for people or for programs.

use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts the log. Says nothing where one runs already, as in tests.
pub fn start(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // A log that cannot be written, because its reader has left or its disk is full, is no reason to end:
    // otherwise the failure itself would be printed to the same place, in a panic.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let started = match log.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "the log runs already");
    }
    std::panic::set_hook(Box::new(log_panic));
}

/// A panic's message may hold what the code was working on, so only its place is logged.
fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("?");
    match info.location() {
        Some(at) => {
            tracing::error!(thread, file = at.file(), line = at.line(), "panic: this is worth a report");
        }
        None => tracing::error!(thread, "panic: this is worth a report"),
    }
}
