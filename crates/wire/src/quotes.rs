//! Where a text of comma-separated values (RFC 4180) stands within quotes, so that one that is never closed is told of
//! instead of taking all rows behind it for the rest of a cell.

use std::fmt;

/// A place in a text, counting from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The character in it.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// A quote would open it.
    Begins,
    /// Quotes in it are letters like any other.
    Plain,
    /// Within quotes that opened here.
    Quoted(Place),
    /// Behind a quote that closes the cell, unless another one follows.
    Closed(Place),
}

/// Follows a text, byte by byte.
#[derive(Debug, Clone)]
pub struct Quotes {
    delimiter: u8,
    cell: Cell,
    at: Place,
}

impl Quotes {
    /// At the beginning of a text with this byte between its cells.
    #[must_use]
    pub fn new(delimiter: u8) -> Quotes {
        Quotes { delimiter, cell: Cell::Begins, at: Place { line: 1, column: 0 } }
    }

    /// Goes on.
    pub fn follow(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.step(*byte));
    }

    /// The quote that is open.
    #[must_use]
    pub fn open(&self) -> Option<Place> {
        match self.cell {
            Cell::Quoted(place) => Some(place),
            _ => None,
        }
    }

    fn step(&mut self, byte: u8) {
        let continues = byte & 0xc0 == 0x80;
        self.at.column += u64::from(!continues);
        let ends = byte == self.delimiter || matches!(byte, b'\r' | b'\n');
        self.cell = match (self.cell, byte) {
            (Cell::Quoted(place), b'"') => Cell::Closed(place),
            (Cell::Closed(place), b'"') => Cell::Quoted(place),
            (within @ Cell::Quoted(_), _) => within,
            (Cell::Begins, b'"') => Cell::Quoted(self.at),
            _ if ends => Cell::Begins,
            // A byte order mark at the beginning belongs to the file, not to its first cell.
            (Cell::Begins, 0xef | 0xbb | 0xbf) if self.at == (Place { line: 1, column: 1 }) => Cell::Begins,
            _ => Cell::Plain,
        };
        if byte == b'\n' {
            self.at = Place { line: self.at.line + 1, column: 0 };
        }
    }
}

/// The quote that a whole text leaves open.
#[must_use]
pub fn unclosed_quote(text: &str, delimiter: u8) -> Option<Place> {
    let mut quotes = Quotes::new(delimiter);
    quotes.follow(text.as_bytes());
    quotes.open()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_that_is_not_closed_is_found_where_it_opens() {
        for (text, line, column) in [
            ("name,label\n\"a,x\n", 2, 1),
            ("ä,\"b\n\nc,d\n", 1, 3),
            ("\u{feff}\"name\n", 1, 2),
            ("a\r\"b\n", 1, 3),
            ("a,\"b\"\"c\n", 1, 3),
        ] {
            assert_eq!(unclosed_quote(text, b','), Some(Place { line, column }), "{text:?}");
        }
    }

    #[test]
    fn a_quote_inside_a_cell_opens_nothing() {
        for closed in [
            "a,\"b\"\n",
            "\"a\"\"b\",c\n",
            "\"a\nb\",c",
            "a\"b,c\n",
            "\"\",x",
            "6\"\" pipe,x",
            "\"a\"b\"c,d\n",
        ] {
            assert_eq!(unclosed_quote(closed, b','), None, "{closed}");
        }
    }
}
