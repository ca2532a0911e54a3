//! Each refusal that a device can bring about, as the manual's table has it: met over the wire, then told the same way
//! by the attempts, by the API and by `muster explain`, in one call.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Answer, Group, Http};
use e2e::muster::Muster;
use e2e::musterd::Musterd;
use serde_json::{Value, json};
use testkit::wait::eventually;

/// How a refusal comes about. `NAME` and `PROFILE` stand for those of the case.
struct Case {
    code: &'static str,
    /// Flags of the profile; without a strategy it lets in whoever has the secret.
    profile: &'static [&'static str],
    /// What happens before the device asks the last time.
    before: &'static [Step],
    /// What is wrong with its request.
    wrong: fn(&mut Value),
    /// Whether `muster explain NAME` finds it: of a request that names nobody there is the attempt alone.
    explained: bool,
}

enum Step {
    /// The operator's program.
    Muster(&'static [&'static str]),
    /// The device asks, and is let in.
    Joins,
    /// The device asks, and what it is told does not matter.
    Asks,
    /// A device of another name, with this member besides, is let in: under the same profile, or in another tenant.
    OtherJoins { tenant: Option<&'static str> },
}

use Step::{Asks, Joins, Muster as Run, OtherJoins};

const RIGHT: Case = Case { code: "", profile: &[], before: &[], wrong: |_| {}, explained: true };
const EXPECTED: &[&str] = &["--strategy", "check-pre-provisioned"];

const CASES: &[Case] = &[
    // What a newcomer gets wrong.
    Case { code: "profile-unknown", wrong: |ask| ask["provisionDeviceKey"] = "nobodys".into(), ..RIGHT },
    Case { code: "proof-invalid", wrong: |ask| ask["provisionDeviceSecret"] = "wrong".into(), ..RIGHT },
    Case { code: "evidence-missing", wrong: |ask| ask["provisionDeviceSecret"] = Value::Null, ..RIGHT },
    Case { code: "provisioning-disabled", profile: &["--strategy", "disabled"], ..RIGHT },
    Case {
        code: "secret-expired",
        before: &[Run(&["profile", "set", "PROFILE", "--secret-expires", "2020-01-01T00:00:00Z"])],
        ..RIGHT
    },
    Case { code: "source-not-allowed", profile: &["--networks", "192.0.2.0/24"], ..RIGHT },
    Case { code: "name-not-allowed", profile: &["--name-pattern", "pump-[0-9]+"], ..RIGHT },
    Case {
        code: "uses-exhausted",
        profile: &["--uses", "1"],
        before: &[OtherJoins { tenant: None }],
        ..RIGHT
    },
    Case { code: "device-unknown", profile: EXPECTED, ..RIGHT },
    Case {
        code: "device-of-other-profile",
        profile: EXPECTED,
        before: &[
            Run(&["profile", "create", "valves", "--strategy", "check-pre-provisioned"]),
            Run(&["device", "add", "NAME", "--profile", "valves"]),
        ],
        ..RIGHT
    },
    Case {
        code: "name-of-other-profile",
        before: &[
            Run(&["profile", "create", "tanks", "--strategy", "check-pre-provisioned"]),
            Run(&["device", "add", "NAME", "--profile", "tanks"]),
        ],
        ..RIGHT
    },
    Case {
        code: "device-announced",
        before: &[Run(&["device", "add", "NAME", "--profile", "PROFILE"])],
        ..RIGHT
    },
    Case { code: "device-exists", before: &[Joins], ..RIGHT },
    Case {
        code: "already-provisioned",
        profile: EXPECTED,
        before: &[Run(&["device", "add", "NAME", "--profile", "PROFILE"]), Joins],
        ..RIGHT
    },
    // What an operator has decided.
    Case { code: "device-disabled", before: &[Joins, Run(&["device", "disable", "NAME"])], ..RIGHT },
    Case {
        code: "device-leaving",
        profile: &["--grace", "1h"],
        before: &[Joins, Run(&["device", "decommission", "NAME", "--yes"])],
        ..RIGHT
    },
    Case { code: "provisioning-frozen", before: &[Run(&["freeze", "on", "--profile", "PROFILE"])], ..RIGHT },
    Case { code: "approval-pending", profile: &["--approval", "on"], ..RIGHT },
    Case {
        code: "provisioning-denied",
        profile: &["--approval", "on"],
        before: &[Asks, Run(&["approval", "reject", "QUESTION"])],
        ..RIGHT
    },
    // Names and credentials.
    Case { code: "name-blank", wrong: |ask| ask["deviceName"] = "  ".into(), explained: false, ..RIGHT },
    Case {
        code: "name-too-long",
        wrong: |ask| ask["deviceName"] = "x".repeat(256).into(),
        explained: false,
        ..RIGHT
    },
    Case {
        code: "name-malformed",
        wrong: |ask| ask["deviceName"] = "<b>x</b>".into(),
        explained: false,
        ..RIGHT
    },
    Case {
        code: "name-missing",
        profile: EXPECTED,
        wrong: |ask| drop(ask.as_object_mut().and_then(|members| members.remove("deviceName"))),
        explained: false,
        ..RIGHT
    },
    Case {
        code: "credentials-in-use",
        before: &[OtherJoins { tenant: None }],
        wrong: |ask| brings(ask, &json!({"credentialsType": "ACCESS_TOKEN", "token": TOKEN})),
        ..RIGHT
    },
    Case {
        code: "credentials-in-use-elsewhere",
        before: &[Run(&["tenant", "create", "elsewhere"]), OtherJoins { tenant: Some("elsewhere") }],
        wrong: |ask| brings(ask, &json!({"credentialsType": "ACCESS_TOKEN", "token": FOREIGN_TOKEN})),
        ..RIGHT
    },
    Case {
        code: "credentials-type-unknown",
        wrong: |ask| brings(ask, &json!({"credentialsType": "SMOKE_SIGNALS"})),
        ..RIGHT
    },
    Case {
        code: "credentials-incomplete",
        wrong: |ask| brings(ask, &json!({"credentialsType": "ACCESS_TOKEN", "clientId": "c"})),
        ..RIGHT
    },
    Case {
        code: "credentials-malformed",
        wrong: |ask| brings(ask, &json!({"credentialsType": "ACCESS_TOKEN", "token": "a\u{1}b"})),
        ..RIGHT
    },
    Case {
        code: "basic-identity-missing",
        wrong: |ask| brings(ask, &json!({"credentialsType": "MQTT_BASIC", "password": "p"})),
        ..RIGHT
    },
    Case {
        code: "basic-password-without-user",
        wrong: |ask| brings(ask, &json!({"credentialsType": "MQTT_BASIC", "clientId": "c", "password": "p"})),
        ..RIGHT
    },
    Case {
        code: "certificate-malformed",
        wrong: |ask| brings(ask, &json!({"credentialsType": "X509_CERTIFICATE", "hash": "MIIB"})),
        ..RIGHT
    },
    Case {
        code: "lwm2m-unsupported",
        wrong: |ask| brings(ask, &json!({"credentialsType": "LWM2M_CREDENTIALS", "hash": "x"})),
        ..RIGHT
    },
    Case {
        code: "request-malformed",
        wrong: |ask| ask["deviceName"] = Value::Null,
        explained: false,
        ..RIGHT
    },
    // The last one: from then on the address is not listened to.
    Case { code: "too-many-attempts", wrong: |ask| ask["provisionDeviceSecret"] = "guessed".into(), ..RIGHT },
];

/// Refusals that no request brings about by itself, and the test that shows each: file and name.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "hook-pending",
        "crates/engine/tests/it/asked.rs",
        "a_tenant_whose_hook_is_slow_leaves_others_their_seats_and_its_questions_stay",
    ),
    ("questions-full", "crates/store/tests/suite/parked.rs", "a_batch_asks_no_more_than_there_is_room_for"),
    (
        "operation-running",
        "crates/domain/src/decide/tests.rs",
        "who_asks_for_something_else_while_its_steps_are_being_done_has_to_wait",
    ),
    (
        "operation-stopped",
        "crates/engine/tests/it/steps.rs",
        "a_fault_for_good_at_any_step_stops_there_and_resuming_finishes_it",
    ),
    (
        "credentials-unknown",
        "e2e/tests/e2e/refusals.rs",
        "credentials_that_nobody_holds_are_told_to_the_operator",
    ),
    (
        "certificate-unknown",
        "e2e/tests/e2e/certificates.rs",
        "a_known_certificate_opens_in_every_version_and_unknown_and_expired_ones_do_not",
    ),
    (
        "certificate-expired",
        "e2e/tests/e2e/certificates.rs",
        "a_known_certificate_opens_in_every_version_and_unknown_and_expired_ones_do_not",
    ),
    (
        "queue-full",
        "crates/engine/src/fair_queue.rs",
        "a_full_queue_makes_room_for_who_holds_less_and_for_nobody_else",
    ),
    (
        "deadline-passed",
        "crates/engine/src/queue.rs",
        "who_waits_longer_than_its_protocol_has_patience_is_told_so",
    ),
    (
        "storage-full",
        "e2e/tests/e2e/crash/full_disk.rs",
        "a_full_disk_is_a_temporary_error_and_service_resumes_by_itself",
    ),
    (
        "store-unavailable",
        "crates/engine/src/waiting.rs",
        "who_waits_is_not_told_that_it_leaves_where_nobody_could_look",
    ),
    (
        "secrets-locked",
        "e2e/tests/e2e/keys.rs",
        "a_server_without_its_key_tells_devices_to_come_again_until_it_is_back",
    ),
    (
        "secret-unreadable",
        "crates/store/tests/suite/sealed.rs",
        "lost_or_foreign_secrets_are_not_replaced_by_new_ones",
    ),
    (
        "shutting-down",
        "crates/engine/tests/it/asked.rs",
        "what_a_server_asks_when_it_ends_can_be_asked_by_others_at_once",
    ),
    ("internal", "crates/engine/src/queue.rs", "who_waits_for_one_that_failed_is_told_at_once"),
];

const TOKEN: &str = "a-token-of-its-own";
const FOREIGN_TOKEN: &str = "a-token-from-elsewhere";

fn brings(ask: &mut Value, more: &Value) {
    for (member, value) in more.as_object().into_iter().flatten() {
        ask[member] = value.clone();
    }
}

#[test]
fn each_refusal_is_told_the_same_way_by_attempts_api_and_explain() -> Result<()> {
    let manual = manual()?;
    let server = Musterd::serve("[provisioning]\npatience_s = 1\n")?;
    let muster = server.muster()?;
    for case in CASES {
        case.shows(&server, &muster, &manual).with_context(|| case.code)?;
    }
    Ok(())
}

#[test]
fn credentials_that_nobody_holds_are_told_to_the_operator() -> Result<()> {
    let [sentence, hint] = manual()?.remove("credentials-unknown").context("it is not in the manual")?;
    let server = Musterd::serve("")?;
    let reply = Http::open(server.address().http())?.telemetry("nobodys-token", &json!({"a": 1}))?;
    ensure!(reply.status == 401, "{reply:?}");
    let row = attempt(&server.muster()?, "credentials-unknown")?;
    ensure!(row["sentence"] == *sentence && row["hint"] == *hint, "{row}");
    Ok(())
}

#[test]
fn what_a_device_met_under_one_profile_is_not_laid_on_another() -> Result<()> {
    let server = Musterd::serve("")?;
    let muster = server.muster()?;
    let made = muster.json(&["profile", "create", "pumps", "--strategy", "create-new"])?;
    muster.ok(&["profile", "create", "valves", "--strategy", "create-new"])?;
    let wrong = Group::new(&group_of(&made)?.key, "wrong");
    Http::open(server.address().http())?.provision(&wrong.ask("pump-1"))?;
    attempt(&muster, "proof-invalid")?;
    let told = muster.json(&["explain", "pump-1"])?;
    ensure!(told[0]["profile"] == "pumps" && told[0]["verdict"] == "refused", "{told}");
    let told = muster.json(&["explain", "pump-1", "--profile", "valves"])?;
    ensure!(told[0]["verdict"] == "unknown" && first_no(&told).is_none(), "{told}");
    Ok(())
}

#[test]
fn every_refusal_of_the_manual_is_brought_about_by_a_test() -> Result<()> {
    for code in manual()?.keys() {
        let here = CASES.iter().any(|case| case.code == code);
        let there = ELSEWHERE.iter().find(|(elsewhere, ..)| elsewhere == code);
        match (here, there) {
            (true, None) => {}
            (false, Some((_, file, test))) => {
                let source = fs::read_to_string(e2e::own("..").join(file)).context(*file)?;
                ensure!(source.contains(&format!("fn {test}(")), "{file} has no test {test}");
            }
            _ => anyhow::bail!("`{code}` stands in both lists or in none"),
        }
    }
    Ok(())
}

/// Sentence and hint of each code that a device can meet.
fn manual() -> Result<BTreeMap<String, [String; 2]>> {
    let page = fs::read_to_string(e2e::own("../docs/reference/refusals.md"))?;
    // What operators are refused for has a table of its own behind it.
    let devices = page.split("\n## ").next().unwrap_or_default();
    let rows = devices.lines().filter_map(|line| line.strip_prefix("| `"));
    let read = |row: &str| {
        let cells: Vec<_> = row.split(" | ").map(str::to_owned).collect();
        let code = cells.first()?.strip_suffix('`')?.to_owned();
        Some((code, [cells.get(2)?.clone(), cells.get(3)?.clone()]))
    };
    Ok(rows.filter_map(read).collect())
}

impl Case {
    fn device(&self) -> String {
        format!("{}-device", self.code)
    }

    fn words<'a>(&'a self, words: &[&'a str], question: &'a str, device: &'a str) -> Vec<&'a str> {
        let put = |word: &&'a str| match *word {
            "NAME" => device,
            "PROFILE" => self.code,
            "QUESTION" => question,
            word => word,
        };
        words.iter().map(put).collect()
    }

    fn shows(&self, server: &Musterd, muster: &Muster, manual: &BTreeMap<String, [String; 2]>) -> Result<()> {
        let group = self.bring_about(server, muster)?;
        let mut ask = group.ask(&self.device());
        (self.wrong)(&mut ask);
        self.ask_until_refused(server, &ask)?;

        let [sentence, hint] = manual.get(self.code).context("it is not in the manual")?;
        let row = attempt(muster, self.code)?;
        ensure!(row["sentence"] == **sentence && row["hint"] == **hint, "{row}");
        if self.explained {
            let told = muster.json(&["explain", &self.device()])?;
            let no = first_no(&told).with_context(|| format!("nothing says no: {told}"))?;
            ensure!(no["code"] == self.code, "{told}");
            ensure!(no["sentence"] == **sentence && no["hint"] == **hint, "{told}");
            let told = muster.ok(&["explain", &self.device()])?;
            ensure!(told.contains(sentence.as_str()) && told.contains(hint.as_str()), "{told}");
        }
        Ok(())
    }

    fn bring_about(&self, server: &Musterd, muster: &Muster) -> Result<Group> {
        let strategy: &[&str] =
            if self.profile.contains(&"--strategy") { &[] } else { &["--strategy", "create-new"] };
        let made = muster.json(&[&["profile", "create", self.code], strategy, self.profile].concat())?;
        let group = group_of(&made)?;
        let device = self.device();
        for step in self.before {
            match step {
                Run(words) => {
                    let question =
                        if words.contains(&"QUESTION") { self.question(muster)? } else { String::new() };
                    muster.ok(&self.words(words, &question, &device))?;
                }
                Joins => {
                    let answer = Http::open(server.address().http())?.provision(&group.ask(&device))?;
                    ensure!(answer.is_granted(), "{answer:?}");
                }
                Asks => drop(Http::open(server.address().http())?.provision(&group.ask(&device))?),
                OtherJoins { tenant } => self.other_joins(server, muster, &group, *tenant)?,
            }
        }
        Ok(group)
    }

    fn other_joins(
        &self,
        server: &Musterd,
        muster: &Muster,
        group: &Group,
        tenant: Option<&str>,
    ) -> Result<()> {
        let foreign = tenant
            .map(|tenant| {
                muster.json(&["profile", "create", "theirs", "--strategy", "create-new", "--tenant", tenant])
            })
            .transpose()?;
        let group = foreign.as_ref().map_or_else(|| Ok(group.clone()), group_of)?;
        let mut ask = group.ask(&format!("{}-other", self.code));
        if self.code.starts_with("credentials-in-use") {
            let token = if tenant.is_some() { FOREIGN_TOKEN } else { TOKEN };
            brings(&mut ask, &json!({"credentialsType": "ACCESS_TOKEN", "token": token}));
        }
        let answer = Http::open(server.address().http())?.provision(&ask)?;
        ensure!(answer.is_granted(), "{answer:?}");
        Ok(())
    }

    /// The number of the question about the device.
    fn question(&self, muster: &Muster) -> Result<String> {
        let listed = muster.json(&["approval", "list"])?;
        let of = |row: &&Value| row["name"] == self.device();
        let row = listed.as_array().into_iter().flatten().find(of).with_context(|| listed.to_string())?;
        Ok(row["id"].to_string().trim_matches('"').to_owned())
    }

    /// Once, but for the limit of attempts.
    fn ask_until_refused(&self, server: &Musterd, ask: &Value) -> Result<()> {
        let mut http = Http::open(server.address().http())?;
        for _ in 0..10_000 {
            let answer = http.provision(ask)?;
            ensure!(!answer.is_granted(), "{answer:?}");
            if self.code != "too-many-attempts" || !matches!(answer, Answer::Refused { .. }) {
                return Ok(());
            }
        }
        anyhow::bail!("everything was listened to")
    }
}

/// A row among the attempts; they are recorded within a second.
fn attempt(muster: &Muster, code: &str) -> Result<Value> {
    eventually("the attempt in the journal", PATIENCE, || {
        let told = muster.json(&["attempts", "--limit", "100"]).ok()?;
        told.as_array()?.iter().find(|row| row["code"] == code).cloned()
    })
}

fn first_no(explained: &Value) -> Option<&Value> {
    explained
        .as_array()?
        .iter()
        .find_map(|it| it["checks"].as_array()?.iter().find(|check| check["answer"] == "no"))
}

fn group_of(made: &Value) -> Result<Group> {
    let word = |key: &str| made[key].as_str().with_context(|| format!("no {key}: {made}"));
    Ok(Group::new(word("provision_key")?, word("provision_secret")?))
}
