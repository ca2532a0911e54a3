//! `--watch`: the same question again and again.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;

use crate::failure::{Failure, Kind};

/// Asks again each time so much has passed, until somebody ends it. On a terminal each answer takes the place of the
/// one before. A server that cannot be reached for a while is told of and waited for; anything else ends it.
pub(crate) async fn repeat(
    pause: Duration,
    mut ask: impl AsyncFnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut reached = false;
    loop {
        begin(pause)?;
        match ask().await {
            Ok(()) => reached = true,
            Err(failure) if reached && failure.kind() == Kind::Unreachable => failure.print(),
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(pause).await;
    }
}

/// Clears the screen where there is one.
fn begin(pause: Duration) -> io::Result<()> {
    let mut out = io::stdout();
    if out.is_terminal() {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        writeln!(out, "\x1b[H\x1b[2J{now}  every {} s", pause.as_secs())?;
        out.flush()?;
    }
    Ok(())
}
