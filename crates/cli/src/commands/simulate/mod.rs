//! `muster simulate`: a fleet of devices that provision, and perhaps report something afterwards.

mod acknowledged;
mod device;
mod fleet;
mod names;
mod report;
mod tally;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use agent::clients::{thingsboard_http, thingsboard_mqtt};
use clap::ValueEnum;
use wire::mqtt;

use crate::commands::profile::GivenSecret;
use crate::failure::{Failure, Kind};
use crate::render::Output;
use crate::values;
use acknowledged::Acknowledged;
use fleet::Fleet;
use report::Report;

/// How the devices speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    /// ThingsBoard's HTTP
    ThingsboardHttp,
    /// ThingsBoard's MQTT, a connection for each device
    ThingsboardMqtt,
}

/// The MQTT version that the devices speak.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum MqttVersion {
    #[value(name = "3.1.1")]
    V311,
    #[value(name = "5")]
    V5,
}

/// Flags of `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How the devices speak
    #[arg(long, value_enum)]
    wire: Wire,
    /// How many devices there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    devices: u64,
    /// How many of them are busy at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Make a new HTTP connection for each device instead of keeping one for many
    #[arg(long)]
    new_connections: bool,
    /// How many devices begin in a second; without it as many as the server can take
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// How many telemetry values each device reports with its new credentials
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_value_t = 0, default_missing_value = "1")]
    telemetry: u32,
    /// Where the server listens for this wire, as host:port
    /// [default: 127.0.0.1:8080 for HTTP, 127.0.0.1:1883 for MQTT]
    #[arg(long, value_name = "HOST:PORT", visible_aliases = ["server-http", "server-mqtt"])]
    target: Option<String>,
    /// The MQTT version that the devices speak
    #[arg(long, value_enum, default_value = "3.1.1")]
    mqtt_version: MqttVersion,
    /// The key of the profile
    #[arg(long, value_name = "KEY")]
    provision_key: String,
    #[command(flatten)]
    secret: GivenSecret,
    /// What the names begin with; the rest is a hash
    #[arg(long, value_name = "TEXT", default_value = "sim-")]
    name_prefix: String,
    /// The same seed makes the same names; without it they are new ones each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long a broken connection is tried again before its simulated devices give up
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::seconds)]
    patience: u64,
    /// File the report is written to, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// File that gets a line for each thing the server acknowledged, right after it did: name TAB credential
    /// type TAB credential, or name TAB TELEMETRY TAB value. It holds secrets
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
}

impl Args {
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Failure> {
        let secret = self.secret.read()?.ok_or_else(|| {
            Failure::usage("the profile's secret is needed").hint("use --provision-secret-file FILE")
        })?;
        let acknowledged = self.acknowledged.as_deref().map(Acknowledged::create).transpose()?;
        let plan = self.plan().await?;
        let request = wire::thingsboard::ProvisionRequest::new(self.provision_key.clone(), secret);
        let fleet = Fleet::new(plan, request, acknowledged);
        let report = fleet.run().await?;
        self.publish(&report, out)
    }

    async fn plan(&self) -> Result<fleet::Plan, Failure> {
        let target = self.target.as_deref().unwrap_or(match self.wire {
            Wire::ThingsboardHttp => "127.0.0.1:8080",
            Wire::ThingsboardMqtt => "127.0.0.1:1883",
        });
        Ok(fleet::Plan {
            wire: self.wire,
            target: resolved(target).await?,
            devices: self.devices,
            connections: u64::from(self.connections).min(self.devices),
            new_connections: self.new_connections,
            rate: self.rate,
            telemetry: self.telemetry,
            mqtt: thingsboard_mqtt::Options {
                version: match self.mqtt_version {
                    MqttVersion::V311 => mqtt::Version::V311,
                    MqttVersion::V5 => mqtt::Version::V5,
                },
                ..thingsboard_mqtt::Options::default()
            },
            names: names::Names::new(self.name_prefix.clone(), self.seed.unwrap_or_else(names::fresh_seed)),
            patience: Duration::from_secs(self.patience),
        })
    }

    fn publish(&self, report: &Report, out: &mut Output) -> Result<(), Failure> {
        if let Some(file) = &self.report {
            report.write(file)?;
        }
        if out.format().is_document() {
            out.document(report)?;
        } else {
            report.show(out)?;
        }
        match report.missing() {
            0 => Ok(()),
            missing => {
                Err(Failure::findings(format!("{missing} of {} devices were not served", report.devices)))
            }
        }
    }
}

/// Looks the name up once, so that no device waits for it.
async fn resolved(target: &str) -> Result<String, Failure> {
    let target = target.strip_prefix("http://").unwrap_or(target).trim_end_matches('/');
    let unusable = |error: io::Error| {
        Failure::new(Kind::Unreachable, format!("{target} is not the address of a server: {error}"))
            .hint("write it as host:port, such as 127.0.0.1:8080")
    };
    let mut addresses = tokio::net::lookup_host(target).await.map_err(unusable)?;
    let address = addresses.next().ok_or_else(|| unusable(io::ErrorKind::NotFound.into()))?;
    Ok(address.to_string())
}

/// The kept connection of one simulated line of devices.
type HttpClient = thingsboard_http::Client;
