//! What stands in the manual.

use std::path::Path;

use super::Tree;

/// Every wire that devices speak has a page, by the name of its module.
pub(super) fn protocols(tree: &Tree) -> Vec<String> {
    pages(tree, "protocols")
}

/// Every kind of neighbour that is kept in step has a page, by the name of its module.
pub(super) fn connectors(tree: &Tree) -> Vec<String> {
    pages(tree, "connectors")
}

/// Every module that a folder of the server lists has a page.
fn pages(tree: &Tree, folder: &str) -> Vec<String> {
    let Some(list) = tree.file(&format!("crates/server/src/{folder}/mod.rs")) else {
        return vec![format!("the list of {folder} is not there")];
    };
    let modules = list.text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    modules
        .map(|module| format!("docs/{folder}/{}.md", module.replace('_', "-")))
        .filter(|page| tree.file(page).is_none())
        .map(|page| format!("{page} is missing"))
        .collect()
}

/// A link in a document to a file of ours leads to one that is there.
pub(super) fn links(tree: &Tree) -> Vec<String> {
    let documents = tree.files.iter().filter(|file| file.has_ending("md"));
    documents
        .flat_map(|document| {
            let folder = document.path.parent().unwrap_or(Path::new(""));
            let broken = move |link: &&str| !crate::root().join(folder).join(link).exists();
            linked(&document.text)
                .filter(broken)
                .map(|link| format!("{}: {link}", document.path.display()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The files that `[text](file)` names.
fn linked(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|link| !link.is_empty() && !link.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::super::SourceFile;
    use super::*;

    fn tree(path: &str, text: &str) -> Tree {
        Tree { files: vec![SourceFile { path: path.into(), text: text.into() }] }
    }

    #[test]
    fn a_protocol_without_a_page_is_told() {
        let list = "pub mod azure_dps;\nmod refusals;\n";
        let faults = protocols(&tree("crates/server/src/protocols/mod.rs", list));
        assert_eq!(faults, ["docs/protocols/azure-dps.md is missing"]);
    }

    #[test]
    fn a_connector_without_a_page_is_told() {
        let faults = connectors(&tree("crates/server/src/connectors/mod.rs", "pub mod webhook;\n"));
        assert_eq!(faults, ["docs/connectors/webhook.md is missing"]);
        assert_eq!(connectors(&tree("elsewhere.rs", "")).len(), 1);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_told() {
        let page = "[a](Cargo.toml) [b](https://example.org/x) [c](#part) [d](no-such-file.md#part)";
        assert_eq!(links(&tree("page.md", page)), ["page.md: no-such-file.md"]);
    }
}
