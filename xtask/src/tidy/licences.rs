//! Under what licences the packages stand that we link.

use crate::run::program;

use super::Tree;

/// Licences that may be linked; each package needs one of them.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "0BSD",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "CC0-1.0",
    "OpenSSL",
];

pub(super) fn check(_: &Tree) -> Vec<String> {
    let format =
        ["tree", "--workspace", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}"];
    match program("cargo", &format).output() {
        Ok((true, listed)) => listed.lines().filter_map(unlicensed).collect(),
        Ok((false, said)) => vec![said],
        Err(error) => vec![error.to_string()],
    }
}

/// A line `name v1.0.0|licence`, where the licence cannot be met.
fn unlicensed(line: &str) -> Option<String> {
    let (package, licence) = line.split_once('|')?;
    let licence = licence.trim_end_matches(" (*)");
    (!may_be_met(licence)).then(|| format!("{package}: `{licence}`"))
}

/// An expression of SPDX with `AND`, `OR`, `WITH` and parentheses (version 2.3, annex D); old packages write
/// `/` for `OR`.
fn may_be_met(licence: &str) -> bool {
    let spaced = licence.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) && rest.is_empty()
}

fn any(words: &mut &[&str]) -> bool {
    let mut met = all(words);
    while let Some(rest) = words.strip_prefix(&["OR"]) {
        *words = rest;
        met |= all(words);
    }
    met
}

fn all(words: &mut &[&str]) -> bool {
    let mut met = one(words);
    while let Some(rest) = words.strip_prefix(&["AND"]) {
        *words = rest;
        met &= one(words);
    }
    met
}

fn one(words: &mut &[&str]) -> bool {
    let Some((word, rest)) = words.split_first() else { return false };
    *words = rest;
    if *word == "(" {
        let met = any(words);
        let Some(rest) = words.strip_prefix(&[")"]) else { return false };
        *words = rest;
        return met;
    }
    // An exception only allows more.
    if let ["WITH", _, rest @ ..] = *words {
        *words = rest;
    }
    LICENCES.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_needs_a_licence_that_can_be_met() {
        for allowed in [
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "ISC (*)",
        ] {
            assert_eq!(unlicensed(&format!("a v1.0.0|{allowed}")), None, "{allowed}");
        }
        for refused in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "(MIT", "MIT ISC", ""] {
            assert!(unlicensed(&format!("a v1.0.0|{refused}")).is_some(), "{refused}");
        }
    }
}
