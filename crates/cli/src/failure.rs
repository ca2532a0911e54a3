//! Why a command did not do what it was asked to: what is printed, and the exit code.

use std::io;
use std::io::Write as _;

use crate::text;

/// Why a command ends without having done all of its work.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
    code: Option<String>,
    may_pass: bool,
}

/// What kind of failure it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The server understood and said no, or failed.
    Refused,
    /// The command line, or a file that it names, cannot be used.
    Usage,
    /// No server was reached.
    Unreachable,
    /// The server does not accept the token for this call.
    Unauthorized,
    /// A destructive command was not confirmed.
    Unconfirmed,
    /// The command did its work and found something that is not in order.
    Findings,
    /// Whoever read our output has left. Nothing is printed.
    OutputClosed,
}

impl Kind {
    /// The exit code; the list in `muster --help` says the same.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Unauthorized => 4,
            Self::Unconfirmed => 5,
            Self::Findings => 6,
        }
    }
}

/// The text on exit codes in `muster --help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the server refused the call, or failed
  2  the command line, or a file it names, cannot be used
  3  no server was reached
  4  the server does not accept the token for this call
  5  a destructive command was not confirmed
  6  done, but not all is in order: refused rows of an import, faults in the journal,
     devices of a simulation that were not provisioned, a report that is not what was signed";

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, code: None, may_pass: kind == Kind::Unreachable }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn findings(message: impl Into<String>) -> Self {
        Self::new(Kind::Findings, message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with the server's word for it.
    #[must_use]
    pub(crate) fn called(mut self, code: String) -> Self {
        self.code = Some(code);
        self
    }

    /// The server's word for it.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The same, where trying again later may help.
    #[must_use]
    pub(crate) fn passing(mut self, may_pass: bool) -> Self {
        self.may_pass |= may_pass;
        self
    }

    /// Whether trying again later may help.
    pub(crate) fn may_pass(&self) -> bool {
        self.may_pass
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Writes `error: …` and `  hint: …` to standard error, in colour where that is a terminal.
    pub(crate) fn print(&self) {
        if self.kind == Kind::OutputClosed {
            return;
        }
        let mut stderr = anstream::stderr().lock();
        let message = text::visible(&self.message);
        // Nobody is left to tell when standard error itself cannot be written.
        let _ = writeln!(stderr, "\x1b[1;31merror:\x1b[0m {message}");
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "  \x1b[1;36mhint:\x1b[0m {}", text::visible(hint));
        }
    }
}

/// Only writing to standard output is turned into a failure this way.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Kind::OutputClosed, "the reader of the output has left");
        }
        Self::new(Kind::Refused, format!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.kind().exit_code(), 0);
        let failure = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(failure.kind().exit_code(), 1);
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        let kinds = [
            Kind::Refused,
            Kind::Usage,
            Kind::Unreachable,
            Kind::Unauthorized,
            Kind::Unconfirmed,
            Kind::Findings,
            Kind::OutputClosed,
        ];
        for kind in kinds {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", kind.exit_code())), "{kind:?}");
        }
    }

    #[test]
    fn the_manual_says_of_exit_codes_what_the_help_says() {
        let manual = include_str!("../../../docs/reference/muster.md");
        let help = EXIT_CODES.replace("\n     ", " ");
        for line in help.lines().skip(1) {
            let (code, meaning) = line.trim().split_once("  ").unwrap();
            assert!(manual.contains(&format!("| {code} | {meaning} |")), "{line}");
        }
    }
}
