//! Who may know whom.

use crate::run::program;

use super::Tree;

/// Each package and the packages of ours that it may depend on.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("wire", &[]),
    ("store", &["domain"]),
    ("engine", &["domain", "store"]),
    ("server", &["domain", "engine", "store", "wire"]),
    ("agent", &["wire"]),
    ("cli", &["agent", "wire"]),
    ("testkit", &[]),
];

pub(super) fn packages(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (package, allowed) in MAY_USE {
        let Some(manifest) = tree.file(&format!("crates/{package}/Cargo.toml")) else {
            faults.push(format!("{package} is not there"));
            continue;
        };
        let used = dependencies(&manifest.text);
        let ours = used.iter().filter(|name| MAY_USE.iter().any(|(known, _)| known == *name));
        faults.extend(
            ours.filter(|name| !allowed.contains(name)).map(|name| format!("{package} must not use {name}")),
        );
    }
    faults
}

/// The names under `[dependencies]`; what only tests use is free.
fn dependencies(manifest: &str) -> Vec<&str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .collect()
}

/// What reaches outside: a runtime, sockets, files, the environment, clocks, chance.
const IMPURE: &[&str] = &[
    "tokio",
    "std::net::Tcp",
    "std::net::Udp",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "rand::",
    "getrandom",
    "aws_lc_rs",
    "println!",
];

pub(super) fn purity(tree: &Tree) -> Vec<String> {
    ["crates/domain/src", "crates/wire/src"]
        .iter()
        .flat_map(|folder| tree.rust(folder))
        .filter(|file| !is_test(file))
        .flat_map(|file| file.lines_with(IMPURE))
        .collect()
}

const SQL: &[&str] = &["rusqlite", "SELECT ", "INSERT INTO", "DELETE FROM", "CREATE TABLE", "PRAGMA "];

pub(super) fn sql(tree: &Tree) -> Vec<String> {
    ["domain", "wire", "engine", "server", "agent", "cli"]
        .iter()
        .flat_map(|package| tree.rust(&format!("crates/{package}/src")).collect::<Vec<_>>())
        .flat_map(|file| file.lines_with(SQL))
        .collect()
}

/// Authenticated encryption is how a secret is sealed and opened.
const OPENING: &[&str] = &["aead::", "LessSafeKey", "RandomizedNonceKey"];

pub(super) fn secrets(tree: &Tree) -> Vec<String> {
    let inside = |path: &std::path::Path| {
        path.starts_with("crates/store/src/secrets") || path.ends_with("store/src/secrets.rs")
    };
    tree.rust("crates").filter(|file| !inside(&file.path)).flat_map(|file| file.lines_with(OPENING)).collect()
}

pub(super) fn domain_shapes(tree: &Tree) -> Vec<String> {
    tree.rust("crates/domain/src")
        .flat_map(|file| file.lines_with(&["serde", "Serialize", "Deserialize"]))
        .collect()
}

pub(super) fn faces(tree: &Tree) -> Vec<String> {
    let protocols = tree
        .rust("crates/server/src/protocols")
        .flat_map(|file| file.lines_with(&["Registry", "store::", "engine::registry", "crate::api"]));
    let operators = tree.rust("crates/server/src/api").flat_map(|file| {
        file.lines_with(&["Provisioner", "DeviceAuth", "Hub", "store::Store", "crate::protocols", "rusqlite"])
    });
    protocols.chain(operators).collect()
}

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

pub(super) fn licences(_: &Tree) -> Vec<String> {
    let format =
        ["tree", "--workspace", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}"];
    match program("cargo", &format).output() {
        Ok((true, listed)) => listed.lines().filter_map(unlicensed).collect(),
        Ok((false, said)) => vec![said],
        Err(error) => vec![error.to_string()],
    }
}

/// A line `name v1.0.0|licence`, where no choice of the licence is allowed.
fn unlicensed(line: &str) -> Option<String> {
    let (package, licence) = line.split_once('|')?;
    let licence = licence.trim_end_matches(" (*)");
    let allowed = |choice: &str| {
        choice.split(" AND ").all(|part| {
            let part = part.trim().trim_matches(['(', ')']);
            LICENCES.contains(&part.split(" WITH ").next().unwrap_or(part))
        })
    };
    let choices = licence.replace('/', " OR ").replace(['(', ')'], "");
    let any = choices.split(" OR ").any(|choice| allowed(choice.trim()));
    (!any).then(|| format!("{package}: {licence}"))
}

fn is_test(file: &super::SourceFile) -> bool {
    file.path.file_stem().is_some_and(|name| name == "tests")
        || file.path.components().any(|part| part.as_os_str() == "tests")
}
