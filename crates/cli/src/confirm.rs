//! Asking before something is destroyed.

use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::{Failure, Kind};
use crate::text;

/// The flag of verbs that destroy.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Confirmation {
    /// Do not ask; needed where no person sits at a terminal
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Only tell what would happen
    #[arg(long)]
    dry_run: bool,
}

impl Confirmation {
    /// Whether nothing is to be changed.
    pub(crate) fn is_dry_run(self) -> bool {
        self.dry_run
    }

    /// Whether nobody is to be asked.
    pub(crate) fn is_given(self) -> bool {
        self.yes
    }

    /// Goes on only with the flag, or when the person at the terminal says yes.
    ///
    /// # Errors
    /// [`Kind::Unconfirmed`] otherwise.
    pub(crate) fn ask(self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::new(
                Kind::Unconfirmed,
                "this destroys something and there is nobody to ask",
            )
            .hint("say --yes to do it without a question"));
        }
        if answered_yes(question)? {
            return Ok(());
        }
        Err(Failure::new(Kind::Unconfirmed, "nothing was changed"))
    }
}

fn answered_yes(question: &str) -> Result<bool, Failure> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{} [y/N] ", text::visible(question))?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_a_yes() {
        assert!(is_yes("y\n") && is_yes("Yes\n"));
        for answer in ["", "\n", "n\n", "yep\n", "ja\n"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}
