//! The rules of ARCHITECTURE.md, as tests of the tree.

mod documents;
mod licences;
mod text;
mod walls;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::program;

/// Looks at every rule and tells everything that breaks one.
pub(crate) fn check() -> Result<()> {
    println!("\n==> tidy");
    let tree = Tree::read()?;
    let mut faults = Vec::new();
    for (rule, look) in RULES {
        faults.extend(look(&tree).into_iter().map(|fault| format!("{rule}: {fault}")));
    }
    if faults.is_empty() {
        println!("    {} rules hold in {} files", RULES.len(), tree.files.len());
        return Ok(());
    }
    bail!("the tree is not tidy:\n  {}", faults.join("\n  "))
}

type Look = fn(&Tree) -> Vec<String>;

const RULES: &[(&str, Look)] = &[
    ("packages know only whom they may", walls::packages),
    ("`domain` and `wire` are pure", walls::purity),
    ("nothing below `domain` and `wire` reaches outside", walls::closures),
    ("a lint bans what `domain` and `wire` must not call", walls::bans),
    ("only `store` contains SQL", walls::sql),
    ("only `store::secrets` opens a secret", walls::secrets),
    ("domain types are not serialised", walls::domain_shapes),
    ("protocols see faces, operators' routes see the registry", walls::faces),
    ("licences are allowed", licences::check),
    ("protocols have a page", documents::protocols),
    ("connectors have a page", documents::connectors),
    ("links lead somewhere", documents::links),
    ("files are short", text::length),
    ("nothing is left over", text::left_overs),
    ("nothing of one machine is named", text::places),
];

/// The files that git knows.
pub(crate) struct Tree {
    files: Vec<SourceFile>,
}

/// A file and its text.
pub(crate) struct SourceFile {
    /// Its path from the root.
    path: PathBuf,
    text: String,
}

impl Tree {
    fn read() -> Result<Tree> {
        let (listed, names) =
            program("git", &["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
        anyhow::ensure!(listed, "git does not list the files: {names}");
        let read = |name: &str| {
            let path = crate::root().join(name);
            let bytes = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
            Ok(SourceFile { path: name.into(), text: String::from_utf8_lossy(&bytes).into_owned() })
        };
        // A file that was just deleted is listed until the next commit.
        let there = names.lines().filter(|name| crate::root().join(name).is_file());
        Ok(Tree { files: there.map(read).collect::<Result<_>>()? })
    }

    /// The Rust files below a folder.
    fn rust(&self, folder: &str) -> impl Iterator<Item = &SourceFile> {
        let folder = PathBuf::from(folder);
        self.files.iter().filter(move |file| file.path.starts_with(&folder) && file.has_ending("rs"))
    }

    fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == Path::new(path))
    }
}

impl SourceFile {
    fn has_ending(&self, ending: &str) -> bool {
        self.path.extension().is_some_and(|own| own == ending)
    }

    /// The lines of code of the product: without comments, and up to the tests at the bottom.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(at, line)| (at + 1, line))
    }

    /// Tells the lines of code that hold one of these words.
    fn lines_with<'a>(&'a self, words: &'a [&str]) -> impl Iterator<Item = String> + 'a {
        self.code()
            .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
            .map(|(at, line)| format!("{}:{at}: {}", self.path.display(), line.trim()))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        super::check().unwrap();
    }
}
