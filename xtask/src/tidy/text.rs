//! What stands in the files.

use super::{SourceFile, Tree};

/// Where a file becomes two ideas in one place.
const LONG: usize = 500;

pub(super) fn length(tree: &Tree) -> Vec<String> {
    let product =
        tree.rust("crates").filter(|file| file.path.components().any(|part| part.as_os_str() == "src"));
    product
        .filter_map(|file| {
            let lines = file.text.lines().count();
            (lines > LONG).then(|| format!("{} has {lines} lines", file.path.display()))
        })
        .collect()
}

/// What is not done yet, is still looked for, or is never run; in pieces, so that this file is not found.
const LEFT_OVERS: &[&str] =
    &[concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!("), concat!("#[", "ignore")];

pub(super) fn left_overs(tree: &Tree) -> Vec<String> {
    let in_code = tree.rust("").flat_map(|file| file.lines_with(LEFT_OVERS).collect::<Vec<_>>());
    in_code.chain(tree.file("Cargo.lock").is_none().then(|| "Cargo.lock is missing".into())).collect()
}

/// Hosts of package registries, in pieces, so that this file does not name them.
const HOSTS: &[(&str, &str)] = &[
    ("index.", "crates.io"),
    ("static.", "crates.io"),
    ("registry.", "npmjs.org"),
    ("files.", "pythonhosted.org"),
    ("//", "pypi.org"),
    ("proxy.", "golang.org"),
    ("repo1.", "maven."),
    ("deb.", "debian.org"),
];

/// Folders of one machine, in pieces as well.
const FOLDERS: &[(&str, &str)] = &[("/work", "/main"), ("/work", "/shared"), ("/root", "/.")];

pub(super) fn places(tree: &Tree) -> Vec<String> {
    let names = |file: &SourceFile| {
        let pieces = HOSTS.iter().chain(FOLDERS).map(|(first, second)| format!("{first}{second}"));
        pieces
            .filter(|name| file.text.contains(name))
            .map(|name| format!("{} names {name}", file.path.display()))
            .collect::<Vec<_>>()
    };
    tree.files.iter().filter(|file| !file.path.ends_with("Cargo.lock")).flat_map(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: impl Into<String>) -> Tree {
        let lock = SourceFile { path: "Cargo.lock".into(), text: String::new() };
        Tree { files: vec![SourceFile { path: path.into(), text: text.into() }, lock] }
    }

    #[test]
    fn a_long_file_is_told() {
        assert_eq!(length(&file("crates/a/src/b.rs", "\n".repeat(501))).len(), 1);
        assert_eq!(length(&file("crates/a/src/b.rs", "\n".repeat(500))), [""; 0]);
    }

    #[test]
    fn what_was_left_over_is_told() {
        for left in [concat!("    to", "do!()"), concat!("#[", "ignore]"), concat!("db", "g!(x);")] {
            assert_eq!(left_overs(&file("crates/a/src/b.rs", left)).len(), 1, "{left}");
        }
        assert_eq!(left_overs(&file("crates/a/src/b.rs", "fn ignored() {}")), [""; 0]);
        assert_eq!(left_overs(&Tree { files: Vec::new() }), ["Cargo.lock is missing"]);
    }

    #[test]
    fn a_place_of_one_machine_is_told() {
        let (host, folder) = (concat!("https://static.", "crates.io/x"), concat!("/work", "/main/x"));
        assert_eq!(places(&file("README.md", host)).len(), 1);
        assert_eq!(places(&file("a.rs", folder)).len(), 1);
    }
}
