//! Many devices at the same moment.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use e2e::address::Address;
use e2e::device::{Answer, Connect, Group, Http, Mqtt};
use e2e::musterd::Musterd;
use serde_json::{Value, json};

const NAME: &str = "pump-17";
const CLIENTS: usize = 64;
const STRATEGIES: [&str; 2] = ["create-new", "check-pre-provisioned"];

#[test]
fn under_refuse_one_of_64_clients_with_one_name_succeeds() -> Result<()> {
    for strategy in STRATEGIES {
        let race = Race::new(strategy, "refuse", &[])?;
        let answers = race.run(&[NAME; CLIENTS])?;
        let granted: Vec<_> = answers.iter().filter(|answer| answer.is_granted()).collect();
        ensure!(granted.len() == 1, "{strategy}: {} succeed", granted.len());
        let why = match strategy {
            "create-new" => "Device with this name already exists",
            _ => "Device is already provisioned",
        };
        let refused = Answer::Refused { status: "FAILURE".to_owned(), why: why.to_owned() };
        ensure!(answers.iter().all(|answer| answer.is_granted() || *answer == refused), "{answers:?}");
        ensure!(race.works(granted[0].token().context("no token")?)?);
        race.ended_with_one_device(&[("granted", 1), ("refused", CLIENTS - 1)])?;
    }
    Ok(())
}

#[test]
fn under_return_existing_64_clients_with_one_name_get_one_token_from_one_write() -> Result<()> {
    for strategy in STRATEGIES {
        let race = Race::new(strategy, "return-existing", &["--redelivery-window", "10m"])?;
        let tokens = tokens(race.run(&[NAME; CLIENTS])?)?;
        ensure!(tokens.len() == 1, "{strategy}: {} different tokens", tokens.len());
        ensure!(race.works(tokens.first().context("no token")?)?);
        race.ended_with_one_device(&[("granted", 1), ("unchanged", CLIENTS - 1)])?;
    }
    Ok(())
}

#[test]
fn under_rotate_one_token_of_64_logs_in_and_it_is_the_last_one_recorded() -> Result<()> {
    for strategy in STRATEGIES {
        let race = Race::new(strategy, "rotate", &[])?;
        let tokens = tokens(race.run(&[NAME; CLIENTS])?)?;
        ensure!(tokens.len() == CLIENTS, "{strategy}: {} different tokens", tokens.len());
        let mut working = Vec::new();
        for token in &tokens {
            working.extend(race.works(token)?.then_some(token));
        }
        ensure!(working.len() == 1, "{strategy}: {} tokens log in", working.len());
        // One more is recorded after all of them, so it is the last.
        let last = Http::open(race.address().http())?.provision(&race.group.ask(NAME))?.into_token()?;
        ensure!(race.works(&last)? && !race.works(working[0])?, "{strategy}: the last one is void");
        race.ended_with_one_device(&[("granted", CLIENTS + 1)])?;
    }
    Ok(())
}

#[test]
fn a_secret_with_10_uses_lets_10_of_1000_simultaneous_devices_in() -> Result<()> {
    a_secret_with_10_uses(1000)
}

#[test]
fn a_secret_with_10_uses_lets_10_of_one_batch_of_64_in() -> Result<()> {
    a_secret_with_10_uses(64)
}

fn a_secret_with_10_uses(devices: usize) -> Result<()> {
    let race = Race::new("create-new", "refuse", &["--uses", "10"])?;
    let names: Vec<_> = (0..devices).map(|n| format!("pump-{n}")).collect();
    let answers = race.run(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let granted = answers.iter().filter(|answer| answer.is_granted()).count();
    ensure!(granted == 10, "{granted} devices came in");
    let refused = answers.iter().filter(|answer| matches!(answer, Answer::Refused { .. })).count();
    ensure!(refused == devices - 10, "{answers:?}");
    ensure!(race.devices()?.len() == 10);
    let profile = race.server.muster()?.json(&["profile", "show", "race"])?;
    ensure!(profile["secrets"][0]["uses_left"] == json!(0), "{profile}");
    for token in answers.iter().filter_map(Answer::token) {
        ensure!(race.works(token)?);
    }
    Ok(())
}

/// A server with one profile, and clients that ask it at the same moment.
struct Race {
    server: Musterd,
    group: Group,
}

impl Race {
    fn new(strategy: &str, reprovision: &str, more: &[&str]) -> Result<Self> {
        // Every void token that is tried counts as an unproven attempt.
        let server = Musterd::serve("provisioning.unproven_burst = 1000\n")?;
        let group = Group::new("race-key", "race-secret");
        let profile = ["profile", "create", "race", "--strategy", strategy, "--reprovision", reprovision];
        let given = ["--provision-key", &group.key, "--provision-secret", &group.secret];
        server.muster()?.ok(&[&profile[..], &given, more].concat())?;
        if strategy == "check-pre-provisioned" {
            server.muster()?.ok(&["device", "add", NAME, "--profile", "race"])?;
        }
        Ok(Self { server, group })
    }

    fn address(&self) -> Address {
        self.server.address()
    }

    /// One client for each name, every other one by MQTT; all are connected before the first one asks.
    fn run(&self, names: &[&str]) -> Result<Vec<Answer>> {
        let start = Arc::new(Barrier::new(names.len()));
        let client = |(number, name): (usize, &&str)| {
            let (ask, address, start) = (self.group.ask(name), self.address(), Arc::clone(&start));
            thread::Builder::new().stack_size(256 << 10).spawn(move || match number % 2 {
                0 => by_http(address, &ask, &start),
                _ => by_mqtt(address, &ask, &start),
            })
        };
        let clients: Vec<_> = names.iter().enumerate().map(client).collect::<Result<_, _>>()?;
        clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?).collect()
    }

    fn devices(&self) -> Result<Vec<Value>> {
        self.server.operator()?.all("/devices")
    }

    /// Looks at the registry and the journal after a stop, which brings the last counts into the journal:
    /// from the tenth equal attempt on they are only counted, and entered at the end of the minute.
    fn ended_with_one_device(self, attempts: &[(&str, usize)]) -> Result<()> {
        let setup = self.server.setup().clone();
        self.server.stop()?;
        let server = setup.start()?;
        let devices = server.operator()?.all("/devices")?;
        let [device] = devices.as_slice() else { bail!("{} devices", devices.len()) };
        ensure!(device["name"] == NAME && device["state"] == "provisioned", "{device}");
        let journal = server.operator()?.all("/attempts")?;
        for (outcome, expected) in attempts {
            let those = journal.iter().filter(|row| row["name"] == NAME && row["outcome"] == *outcome);
            let seen: u64 = those.filter_map(|row| row["count"].as_u64()).sum();
            ensure!(seen == *expected as u64, "{seen} attempts {outcome}, {expected} expected");
        }
        Ok(())
    }

    /// Whether a token logs in, the same over both transports.
    fn works(&self, token: &str) -> Result<bool> {
        let http = Http::open(self.address().http())?.telemetry(token, &json!({"t": 1}))?.status;
        let login = Connect { user_name: Some(token), ..Connect::default() };
        let mqtt = Mqtt::knock(self.address().mqtt(), &login)?.map(drop);
        match (http, mqtt) {
            (200, Ok(())) => Ok(true),
            (401, Err(5)) => Ok(false),
            other => Err(anyhow!("HTTP and MQTT say {other:?} to one token")),
        }
    }
}

fn by_http(address: Address, ask: &Value, start: &Barrier) -> Result<Answer> {
    let connected = Http::open(address.http());
    start.wait();
    connected?.provision(ask)
}

fn by_mqtt(address: Address, ask: &Value, start: &Barrier) -> Result<Answer> {
    let connected = Mqtt::open_to_provision(address.mqtt());
    start.wait();
    connected?.provision(ask)
}

fn tokens(answers: Vec<Answer>) -> Result<BTreeSet<String>> {
    answers.into_iter().map(Answer::into_token).collect()
}
