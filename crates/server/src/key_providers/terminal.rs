//! Asking for a passphrase without showing it, and reading some from a file descriptor.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use domain::Secret;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::config::PassphraseFrom;

/// The passphrases that a start is given; none where nobody is there to give one.
///
/// # Errors
/// If the descriptor cannot be read.
pub fn passphrases(from: PassphraseFrom) -> io::Result<Vec<Secret>> {
    match from {
        PassphraseFrom::Later => Ok(Vec::new()),
        PassphraseFrom::Descriptor(number) => lines(File::open(format!("/dev/fd/{number}"))?),
        PassphraseFrom::Terminal if io::stdin().is_terminal() && io::stderr().is_terminal() => {
            let line = hidden("Passphrase of the key-encryption key: ")?;
            Ok(if line.expose().is_empty() { Vec::new() } else { vec![line] })
        }
        PassphraseFrom::Terminal => Ok(Vec::new()),
    }
}

fn lines(file: File) -> io::Result<Vec<Secret>> {
    let read = BufReader::new(file).lines().map(|line| line.map(Secret::new));
    let all: Vec<_> = read.collect::<io::Result<_>>()?;
    Ok(all.into_iter().filter(|line| !line.expose().is_empty()).collect())
}

/// A line that somebody types unseen.
fn hidden(question: &str) -> io::Result<Secret> {
    let stdin = io::stdin();
    let shown = tcgetattr(&stdin)?;
    let mut unseen = shown.clone();
    unseen.local_modes -= LocalModes::ECHO;
    tcsetattr(&stdin, OptionalActions::Flush, &unseen)?;
    let line = ask(question);
    tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
    line
}

fn ask(question: &str) -> io::Result<Secret> {
    let mut terminal = io::stderr();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let mut line = Zeroizing::new(String::new());
    io::stdin().read_line(&mut line)?;
    writeln!(terminal)?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_descriptor_gives_a_passphrase_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrases");
        std::fs::write(&path, "correct horse battery\n\nolder words\n").unwrap();
        let file = File::open(path).unwrap();
        let number = u32::try_from(file.as_raw_fd()).unwrap();
        let read = passphrases(PassphraseFrom::Descriptor(number)).unwrap();
        let read: Vec<&str> = read.iter().map(Secret::expose).collect();
        assert_eq!(read, ["correct horse battery", "older words"]);
    }
}
