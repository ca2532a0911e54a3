//! The two Python programs of the ThingsBoard document, unchanged, against `musterd quickstart`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::muster::ended;
use e2e::musterd::{Musterd, Setup};
use e2e::python::{Program, Python};
use e2e::settings::runs;
use serde_json::json;
use testkit::netns::NetworkNamespace;
use testkit::process::{Process, Stream};
use testkit::wait::eventually;

/// The name that both programs have written in them.
const DEVICE: &str = "SN-001234";

#[test]
fn the_http_program_provisions_and_its_temperature_is_stored_every_time() -> Result<()> {
    provisions_every_time(Program::Http, Python::Requests)
}

#[test]
fn the_mqtt_program_with_paho_1_provisions_and_its_temperature_is_stored_every_time() -> Result<()> {
    provisions_every_time(Program::Mqtt, Python::Paho1)
}

#[test]
fn the_mqtt_program_with_paho_2_provisions_and_its_temperature_is_stored_every_time() -> Result<()> {
    provisions_every_time(Program::Mqtt, Python::Paho2)
}

fn provisions_every_time(program: Program, python: Python) -> Result<()> {
    let stand = Stand::new(program, python)?;
    let before = stand.values_stored()?;
    let runs = runs("MUSTER_SEED_RUNS", 50);
    for run in 0..runs {
        stand.provisions().with_context(|| format!("run {run}"))?;
        stand.forgets()?;
    }
    let stored = stand.values_stored()? - before;
    ensure!(stored == runs, "{runs} temperatures were sent, {stored} were stored");
    stand.provisions()?;
    stand.is_refused_a_second_time()
}

/// A server at the usual ports of a network of its own, and a program.
struct Stand {
    server: Musterd,
    interpreter: PathBuf,
    program: PathBuf,
}

impl Stand {
    fn new(program: Program, python: Python) -> Result<Self> {
        let server = Setup::quickstart()?.within(&Arc::new(NetworkNamespace::new()?)).start()?;
        let file = server.setup().home().join("program.py");
        fs::write(&file, program.text()?)?;
        Ok(Self { server, interpreter: python.interpreter()?, program: file })
    }

    /// Runs the program to its end; what it printed.
    fn run(&self) -> Result<String> {
        let mut process =
            Process::start(self.server.setup().neighbour(&self.interpreter).arg(&self.program))?;
        let status = process.wait(PATIENCE)?;
        ensure!(status.success(), "the program ended with {status}:\n{}", process.transcript());
        Ok(process.lines(Stream::Out).join("\n"))
    }

    fn provisions(&self) -> Result<()> {
        let printed = self.run()?;
        let token = printed.strip_prefix("Provisioned! Token: ");
        let usable = |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric());
        ensure!(token.is_some_and(usable), "the program printed {printed:?}");
        eventually("the temperature", PATIENCE, || self.temperature().transpose())??;
        Ok(())
    }

    /// Whether the one value is there.
    fn temperature(&self) -> Result<Option<()>> {
        let told = self.server.muster()?.json(&["device", "telemetry", DEVICE])?;
        let [value] = told.as_array().map(Vec::as_slice).unwrap_or_default() else { return Ok(None) };
        let (key, number, scope) = (&value["key"], &value["value"], &value["scope"]);
        ensure!(*key == "temperature" && *number == json!(25) && *scope == "telemetry", "{told}");
        Ok(Some(()))
    }

    fn forgets(&self) -> Result<()> {
        self.server.muster()?.ok(&["device", "delete", DEVICE, "--yes"]).map(drop)
    }

    fn is_refused_a_second_time(&self) -> Result<()> {
        let printed = self.run()?;
        ensure!(printed == "Provisioning failed: Device with this name already exists", "{printed:?}");
        Ok(())
    }

    /// How many values the server has stored since its start.
    fn values_stored(&self) -> Result<u64> {
        let mut curl = self.server.setup().neighbour("curl");
        let metrics = ended(curl.args(["--silent", "--fail", "http://localhost:8080/metrics"]))?.out;
        let line = metrics.lines().find(|line| line.starts_with("muster_telemetry_values_total"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        count.with_context(|| format!("no count of values:\n{metrics}"))
    }
}
