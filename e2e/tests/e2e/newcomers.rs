//! What newcomers set up wrong, and that one `muster explain`, by somebody who may only look at one tenant, finds it.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Group, Http};
use e2e::muster::Muster;
use e2e::musterd::Musterd;
use serde_json::Value;
use testkit::wait::eventually;

/// A set-up that is wrong. The profile and the device are called by `name`.
struct Mistake {
    name: &'static str,
    /// Flags of the profile.
    profile: &'static [&'static str],
    /// What the operator does besides; `PROFILE`, `NAME` and `SLOT`, the first group secret, stand for those of the case.
    done: &'static [&'static [&'static str]],
    /// What the device does wrong.
    asked: fn(&mut Value),
    /// The code that it is found by.
    found: &'static str,
}

const NEW: &[&str] = &["--strategy", "create-new"];
const LISTED: &[&str] = &["--strategy", "check-pre-provisioned"];
const RIGHT: Mistake = Mistake { name: "", profile: NEW, done: &[], asked: |_| {}, found: "" };

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "wrong-key",
        asked: |ask| ask["provisionDeviceKey"] = "copied-wrong".into(),
        found: "profile-unknown",
        ..RIGHT
    },
    Mistake {
        name: "no-key",
        asked: |ask| ask["provisionDeviceKey"] = Value::Null,
        found: "evidence-missing",
        ..RIGHT
    },
    Mistake {
        name: "blanks-and-a-wrong-secret",
        asked: |ask| {
            ask["deviceName"] = " blanks-and-a-wrong-secret ".into();
            ask["provisionDeviceSecret"] = "copied-wrong".into();
        },
        found: "proof-invalid",
        ..RIGHT
    },
    Mistake { name: "not-listed", profile: LISTED, found: "device-unknown", ..RIGHT },
    Mistake {
        name: "listed-elsewhere",
        profile: LISTED,
        done: &[&["device", "add", "NAME", "--profile", "elsewhere"]],
        found: "device-of-other-profile",
        ..RIGHT
    },
    Mistake {
        name: "listed-elsewhere-and-new-here",
        done: &[&["device", "add", "NAME", "--profile", "elsewhere"]],
        found: "name-of-other-profile",
        ..RIGHT
    },
    Mistake {
        name: "listed-where-new-ones-are-made",
        done: &[&["device", "add", "NAME", "--profile", "PROFILE"]],
        found: "device-announced",
        ..RIGHT
    },
    Mistake {
        name: "the-secret-of-before",
        done: &[&["profile", "set", "PROFILE", "--rotate-secret", "--overlap", "1s"]],
        found: "secret-expired",
        ..RIGHT
    },
    Mistake {
        name: "a-stop-for-one-secret",
        done: &[
            &["profile", "set", "PROFILE", "--rotate-secret", "--overlap", "1h"],
            &["freeze", "on", "--profile", "PROFILE", "--secret", "SLOT", "--reason", "lost"],
        ],
        found: "provisioning-frozen",
        ..RIGHT
    },
    Mistake {
        name: "used-up",
        profile: &["--strategy", "create-new", "--uses", "0"],
        found: "uses-exhausted",
        ..RIGHT
    },
    Mistake {
        name: "another-network",
        profile: &["--strategy", "create-new", "--networks", "192.0.2.0/24"],
        found: "source-not-allowed",
        ..RIGHT
    },
    Mistake {
        name: "another-pattern",
        profile: &["--strategy", "create-new", "--name-pattern", "pump-[0-9]+"],
        found: "name-not-allowed",
        ..RIGHT
    },
    Mistake {
        name: "shut-out",
        profile: LISTED,
        done: &[&["device", "add", "NAME", "--profile", "PROFILE"], &["device", "disable", "NAME"]],
        found: "device-disabled",
        ..RIGHT
    },
    Mistake {
        name: "not-let-in-at-all",
        profile: &["--strategy", "disabled"],
        found: "provisioning-disabled",
        ..RIGHT
    },
    Mistake {
        name: "an-unknown-type",
        asked: |ask| ask["credentialsType"] = "PASSWORD".into(),
        found: "credentials-type-unknown",
        ..RIGHT
    },
];

#[test]
fn one_explain_by_a_viewer_of_the_tenant_finds_each_wrong_set_up() -> Result<()> {
    let server = Musterd::serve("")?;
    let muster = server.muster()?;
    muster.ok(&["profile", "create", "elsewhere", "--strategy", "check-pre-provisioned"])?;
    let made = muster.json(&["operator", "token", "create", "--role", "viewer", "--tenant", "default"])?;
    let file = server.setup().home().join("viewer-token");
    fs::write(&file, made["token"].as_str().context("no token")?)?;
    let viewer = Muster::with_token(&format!("http://{}", server.address().http()), &file)?;
    for mistake in MISTAKES {
        mistake.is_found(&server, &muster, &viewer).with_context(|| mistake.name)?;
    }
    Ok(())
}

impl Mistake {
    fn is_found(&self, server: &Musterd, muster: &Muster, viewer: &Muster) -> Result<()> {
        let made = muster.json(&[&["profile", "create", self.name], self.profile].concat())?;
        let word = |key: &str| made[key].as_str().with_context(|| format!("no {key}: {made}"));
        let group = Group::new(word("provision_key")?, word("provision_secret")?);
        let slot = muster.json(&["profile", "show", self.name])?["secrets"][0]["slot"].to_string();
        for done in self.done {
            let put = |word: &&'static str| match *word {
                "NAME" | "PROFILE" => self.name.to_owned(),
                "SLOT" => slot.clone(),
                word => word.to_owned(),
            };
            let words: Vec<String> = done.iter().map(put).collect();
            muster.ok(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        let mut ask = group.ask(self.name);
        (self.asked)(&mut ask);
        let mut http = Http::open(server.address().http())?;
        if self.found == "secret-expired" {
            // Others come in as long as the old secret is good.
            let mut number = 0;
            eventually("the end of the overlap", PATIENCE, || {
                number += 1;
                let answer = http.provision(&group.ask(&format!("{}-{number}", self.name))).ok()?;
                (!answer.is_granted()).then_some(())
            })?;
        }
        let answer = http.provision(&ask)?;
        ensure!(!answer.is_granted(), "{answer:?}");
        eventually("the attempt that the viewer sees", PATIENCE, || {
            let told = viewer.json(&["attempts", "--limit", "100"]).ok()?;
            let named = |row: &&Value| row["name"] == self.name;
            told.as_array()?.iter().find(named).map(drop)
        })?;
        let told = viewer.json(&["explain", self.name])?;
        let all = told.as_array().context("no list")?;
        ensure!(all.len() == 1 && all[0]["verdict"] == "refused", "{told}");
        let no = all[0]["checks"].as_array().and_then(|all| all.iter().find(|it| it["answer"] == "no"));
        let no = no.with_context(|| told.to_string())?;
        ensure!(no["code"] == self.found, "{told}");
        ensure!(no["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{no}");
        Ok(())
    }
}
