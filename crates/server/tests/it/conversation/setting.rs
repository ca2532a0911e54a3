//! What is there before a conversation begins.

use domain::{Reprovision, Strategy};

use super::text::Variables;
use crate::running::Running;

/// The lines before the first section.
#[derive(Default)]
pub(super) struct Setting {
    lines: Vec<String>,
}

/// The length of the longest name.
const LONGEST: usize = 255;

impl Setting {
    pub(super) fn take(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    /// A server as the lines say, and the variables of its profile.
    pub(super) fn start(&self) -> (Running, Variables) {
        let mut variables = Variables::default();
        variables.set("KEY", "the-key");
        variables.set("SECRET", "the-secret");
        variables.set("NAME", "pump-17");
        variables.set("LONG", "n".repeat(LONGEST));
        let of = |kind: &str| -> Vec<String> {
            self.lines
                .iter()
                .filter_map(|line| line.strip_prefix(kind))
                .map(|rest| variables.fill(rest))
                .collect()
        };
        let running = Running::start(|config| {
            for line in of("config: ") {
                match line.as_str() {
                    "error_detail = false" => config.provisioning.error_detail = false,
                    "anonymous_provisioning = false" => config.mqtt.anonymous_provisioning = false,
                    "unproven_burst = 1" => {
                        config.provisioning.unproven_burst = 1;
                        config.provisioning.unproven_per_second = 1;
                    }
                    other => panic!("no such setting: {other}"),
                }
            }
        });
        running.profile_with("other", "other-key", "other-secret", |_| {});
        running.profile_with("main", "the-key", "the-secret", |profile| {
            for word in of("profile: ") {
                match word.split_once('=').unwrap() {
                    ("strategy", word) => profile.strategy = Strategy::from_word(word).unwrap(),
                    ("reprovision", word) => profile.reprovision = Reprovision::from_word(word).unwrap(),
                    (other, _) => panic!("no such property of a profile: {other}"),
                }
            }
        });
        for line in of("device: ") {
            let (name, profile) = line.split_once(" of ").unwrap();
            running.expect_device(name, profile);
        }
        for line in of("provisioned: ") {
            running.provision("the-key", "the-secret", &line);
        }
        for line in of("provisioned elsewhere: ") {
            running.provision("other-key", "other-secret", &line);
        }
        if of("broken:").len() == 1 {
            break_database(&running);
        }
        (running, variables)
    }
}

/// The files of the registry become empty under the server's hands.
fn break_database(running: &Running) {
    for file in ["main.db", "main.db-wal"] {
        let path = running.folder().join("data/db").join(file);
        std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
    }
}
