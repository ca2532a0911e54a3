//! Who may know whom.

use crate::run::program;

use super::Tree;

/// The folder of each package and the packages of ours that it may depend on.
const MAY_USE: &[(&str, &[&str])] = &[
    ("crates/domain", &[]),
    ("crates/wire", &[]),
    ("crates/store", &["domain"]),
    ("crates/engine", &["domain", "store"]),
    ("crates/server", &["domain", "engine", "store", "wire"]),
    ("crates/agent", &["wire"]),
    ("crates/cli", &["agent", "wire"]),
    ("crates/testkit", &[]),
    ("e2e", &["testkit"]),
    ("bench", &["e2e", "testkit"]),
    ("xtask", &[]),
];

/// The name of the package in a folder: its last part.
fn name(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap_or(folder)
}

pub(super) fn packages(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (folder, allowed) in MAY_USE {
        let Some(manifest) = tree.file(&format!("{folder}/Cargo.toml")) else {
            faults.push(format!("{folder} is not there"));
            continue;
        };
        let used = dependencies(&manifest.text);
        let ours = used.iter().filter(|used| MAY_USE.iter().any(|(known, _)| name(known) == **used));
        faults.extend(
            ours.filter(|used| !allowed.contains(used)).map(|used| format!("{folder} must not use {used}")),
        );
    }
    faults.extend(unknown(tree));
    faults
}

/// A package that nobody has thought about yet.
fn unknown(tree: &Tree) -> impl Iterator<Item = String> {
    let manifests = tree.files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let folders = manifests.filter_map(|file| file.path.parent()?.to_str());
    folders
        .filter(|folder| !folder.is_empty() && *folder != "fuzz")
        .filter(|folder| MAY_USE.iter().all(|(known, _)| known != folder))
        .map(|folder| format!("{folder} has no place among the packages"))
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

/// Packages that bring what the pure ones must not have, however far below.
const OUTSIDE: &[&str] = &[
    "tokio",
    "mio",
    "async-std",
    "smol",
    "socket2",
    "hyper",
    "reqwest",
    "rand",
    "rand_core",
    "getrandom",
    "fastrand",
    "chrono",
    "time",
    "jiff",
    "uuid",
    "rusqlite",
    "aws-lc-rs",
    "ring",
];

pub(super) fn closures(_: &Tree) -> Vec<String> {
    ["domain", "wire"].iter().flat_map(|package| closure(package)).collect()
}

fn closure(package: &str) -> Vec<String> {
    let edges = ["tree", "--locked", "--package", package, "--edges", "normal", "--prefix", "none"];
    match program("cargo", &edges).output() {
        Ok((true, listed)) => reaches_outside(package, &listed),
        Ok((false, said)) => vec![said],
        Err(error) => vec![error.to_string()],
    }
}

fn reaches_outside(package: &str, listed: &str) -> Vec<String> {
    let below = listed.lines().filter_map(|line| line.split(' ').next());
    below.filter(|name| OUTSIDE.contains(name)).map(|name| format!("{package} depends on {name}")).collect()
}

/// The lint that finds what words do not: each of the pure packages bans the calls, each with its reason.
pub(super) fn bans(tree: &Tree) -> Vec<String> {
    ["crates/domain", "crates/wire"]
        .iter()
        .filter(|folder| {
            let settings = tree.file(&format!("{folder}/clippy.toml"));
            !settings.is_some_and(|file| file.text.contains("std::time::SystemTime::now"))
        })
        .map(|folder| format!("{folder}/clippy.toml does not ban the clock"))
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
        // A key provider wraps data keys, and never sees what they seal.
        path.starts_with("crates/store/src/secrets")
            || path.ends_with("store/src/secrets.rs")
            || path.starts_with("crates/server/src/key_providers")
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

fn is_test(file: &super::SourceFile) -> bool {
    file.path.file_stem().is_some_and(|name| name == "tests")
        || file.path.components().any(|part| part.as_os_str() == "tests")
}

#[cfg(test)]
mod tests {
    use super::super::{SourceFile, Tree};
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| SourceFile { path: path.into(), text: (*text).to_owned() };
        Tree { files: files.iter().map(file).collect() }
    }

    /// A tree in which every package is there and has these dependencies besides.
    fn packages_with(folder: &str, dependency: &str) -> Tree {
        let manifest = |known: &str| {
            let used = if known == folder { dependency } else { "" };
            (format!("{known}/Cargo.toml"), format!("[package]\n\n[dependencies]\n{used}\n\n[lints]\n"))
        };
        let files: Vec<(String, String)> = MAY_USE.iter().map(|(known, _)| manifest(known)).collect();
        tree(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>())
    }

    #[test]
    fn a_package_that_knows_whom_it_must_not_is_told() {
        assert_eq!(packages(&packages_with("crates/store", "domain.workspace = true")), [""; 0]);
        let faults = packages(&packages_with("crates/wire", "domain = { path = \"../domain\" }"));
        assert_eq!(faults, ["crates/wire must not use domain"]);
        assert_eq!(packages(&packages_with("bench", "server.workspace = true")).len(), 1);
    }

    #[test]
    fn a_package_without_a_place_is_told() {
        let mut tree = packages_with("", "");
        tree.files.push(SourceFile { path: "crates/glue/Cargo.toml".into(), text: String::new() });
        assert_eq!(packages(&tree), ["crates/glue has no place among the packages"]);
    }

    #[test]
    fn a_pure_package_that_reaches_outside_is_told() {
        let looks_at_the_clock = tree(&[("crates/domain/src/a.rs", "let now = SystemTime::now();")]);
        assert_eq!(purity(&looks_at_the_clock).len(), 1);
        let only_in_a_test = "fn a() {}\n#[cfg(test)]\nmod tests { std::fs::read(path) }";
        assert_eq!(purity(&tree(&[("crates/wire/src/a.rs", only_in_a_test)])), [""; 0]);
        let far_below = "wire v0.1.0\nbytes v1.0.0\nrand_core v0.9.0\n";
        assert_eq!(reaches_outside("wire", far_below), ["wire depends on rand_core"]);
        assert_eq!(bans(&tree(&[("crates/domain/clippy.toml", "allow-unwrap-in-tests = true")])).len(), 2);
    }

    #[test]
    fn sql_and_opened_secrets_outside_their_place_are_told() {
        let select = r#"connection.query("SELECT name FROM devices")"#;
        assert_eq!(sql(&tree(&[("crates/server/src/api/devices.rs", select)])).len(), 1);
        assert_eq!(sql(&tree(&[("crates/store/src/tables/devices.rs", select)])), [""; 0]);
        let opens = "let key = aead::LessSafeKey::new(key);";
        assert_eq!(secrets(&tree(&[("crates/engine/src/hub.rs", opens)])).len(), 1);
        assert_eq!(secrets(&tree(&[("crates/store/src/secrets/envelope.rs", opens)])), [""; 0]);
    }

    #[test]
    fn a_domain_type_that_is_serialised_is_told() {
        assert_eq!(domain_shapes(&tree(&[("crates/domain/src/a.rs", "#[derive(Serialize)]")])).len(), 1);
    }

    #[test]
    fn a_protocol_that_sees_the_registry_is_told() {
        let sees = |path, what| faces(&tree(&[(path, what)])).len();
        assert_eq!(sees("crates/server/src/protocols/cdm.rs", "use engine::Registry;"), 1);
        assert_eq!(sees("crates/server/src/api/devices.rs", "use engine::Provisioner;"), 1);
        assert_eq!(sees("crates/server/src/api/devices.rs", "use engine::Registry;"), 0);
    }
}
