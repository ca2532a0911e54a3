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

pub(super) fn left_overs(tree: &Tree) -> Vec<String> {
    let words = ["todo!", "unimplemented!", "dbg!"].map(|word| format!("{word}("));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let in_code = tree.rust("").filter(|file| !file.path.starts_with("xtask")).flat_map(|file| {
        let ignored = file.text.lines().any(|line| line.trim() == "#[ignore]");
        let ignored = ignored.then(|| format!("{}: ignored without a reason", file.path.display()));
        file.lines_with(&words).chain(ignored).collect::<Vec<_>>()
    });
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
