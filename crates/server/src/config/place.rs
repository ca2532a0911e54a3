//! Where in a file a mistake is.

use std::fmt;
use std::ops::Range;
use std::path::Path;

/// A mistake in the settings, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `file:line:column`, the name of an environment variable, or the file where it cannot be read.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl Mistake {
    /// A file that cannot be read at all.
    pub(super) fn of_file(file: &Path, message: &str) -> Mistake {
        Mistake { place: file.display().to_string(), message: message.to_owned() }
    }

    /// A mistake at a span of the file's text.
    pub(super) fn at(file: &Path, text: &str, span: &Range<usize>, message: impl Into<String>) -> Mistake {
        let (line, column) = line_and_column(text, span.start);
        Mistake { place: format!("{}:{line}:{column}", file.display()), message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Line and column of a byte, both from 1; the column counts characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        for (at, expected) in [(0, (1, 1)), (2, (1, 2)), (4, (2, 1)), (5, (2, 2)), (99, (2, 3))] {
            assert_eq!(line_and_column("üa\nbc", at), expected, "{at}");
        }
    }
}
