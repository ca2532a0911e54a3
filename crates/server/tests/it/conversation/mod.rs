//! Conversations as text files: what a client says (`>`) and what it must hear (`<`).
//!
//! A file in `conversations/` begins with `row:` lines, the rows of the ThingsBoard page that it stands for, and
//! with what has to be there: `config:`, `profile:` and `device:` lines. Then follow sections:
//!
//! - `== provision`: JSON lines; each is sent and answered over HTTP (status 200), MQTT 3.1.1 and MQTT 5, with
//!   and without waiting for acknowledgements.
//! - `== http`: `> METHOD PATH BODY`, `< STATUS TYPE BODY` (`-` for none), `<h NAME: VALUE` for a header of it.
//! - `== mqtt`: lines of `packets`; run for 3.1.1 and 5, where `>3`, `<3`, `>5` and `<5` are for one alone.
//!
//! Every section and version has a server of its own. In texts `${KEY}` and `${SECRET}` are those of the profile,
//! `${NAME}` is a device's name; any other `${X}` is bound to letters and digits at its first sight in a reply.

mod http;
mod mqtt;
pub(crate) mod packets;
mod rows;
mod setting;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use setting::Setting;

/// One file.
struct Conversation {
    path: PathBuf,
    rows: Vec<String>,
    setting: Setting,
    sections: Vec<Section>,
}

struct Section {
    kind: String,
    lines: Vec<String>,
}

impl Conversation {
    fn read(path: &Path) -> Conversation {
        let text = std::fs::read_to_string(path).unwrap();
        let mut conversation = Conversation {
            path: path.to_owned(),
            rows: Vec::new(),
            setting: Setting::default(),
            sections: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            conversation.take(line);
        }
        conversation
    }

    fn take(&mut self, line: &str) {
        if let Some(kind) = line.strip_prefix("== ") {
            self.sections.push(Section { kind: kind.to_owned(), lines: Vec::new() });
        } else if let Some(section) = self.sections.last_mut() {
            section.lines.push(line.to_owned());
        } else if let Some(row) = line.strip_prefix("row: ") {
            self.rows.push(row.to_owned());
        } else {
            self.setting.take(line);
        }
    }

    fn run(&self) {
        for section in &self.sections {
            match section.kind.as_str() {
                "provision" => {
                    http::provision(&self.setting, &section.lines);
                    mqtt::provision(&self.setting, &section.lines);
                }
                "http" => http::run(&self.setting, &section.lines),
                "mqtt" => mqtt::run(&self.setting, &section.lines),
                other => panic!("no such section: {other}"),
            }
        }
    }
}

fn conversations() -> Vec<Conversation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conversations");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Conversation::read(path)).collect()
}

#[test]
fn every_row_of_the_page_has_a_conversation() {
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for conversation in conversations() {
        assert!(!conversation.rows.is_empty(), "{} names no row", conversation.path.display());
        assert!(!conversation.sections.is_empty(), "{} says nothing", conversation.path.display());
        for row in conversation.rows {
            files.entry(row).or_default().push(conversation.path.clone());
        }
    }
    for row in rows::ROWS {
        assert!(files.remove(*row).is_some(), "no file for the row: {row}");
    }
    assert!(files.is_empty(), "rows that the page does not have: {files:?}");
}

#[test]
fn every_conversation_goes_as_the_page_says() {
    let conversations = conversations();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let (even, odd): (Vec<_>, Vec<_>) =
            conversations.iter().enumerate().partition(|(number, _)| number % 2 == 0);
        let run = |list: Vec<(usize, &Conversation)>| {
            let goes = |conversation: &Conversation| {
                let run = std::panic::AssertUnwindSafe(|| conversation.run());
                std::panic::catch_unwind(run).is_err().then(|| conversation.path.display().to_string())
            };
            list.into_iter().filter_map(|(_, conversation)| goes(conversation)).collect::<Vec<_>>()
        };
        let other = scope.spawn(move || run(odd));
        [run(even), other.join().unwrap()].concat()
    });
    assert!(failed.is_empty(), "these went otherwise: {failed:#?}");
}
