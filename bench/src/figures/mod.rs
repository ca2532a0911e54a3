//! What is measured: one file a figure or a pair that belongs together.

mod calibration;
mod connections;
mod feed;
mod fleet;
mod guessing;
mod latency;
mod lone;
mod million;
mod mqtt;
mod neighbours;
mod postgres;
mod provision;
mod registry;
mod rewrap;
mod server;
mod start;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::report::Report;

/// How many connections ask at a time.
pub const CONNECTIONS: usize = 64;

/// Everything a figure needs.
pub struct Bench {
    /// A folder on a real disk.
    pub folder: PathBuf,
    /// Whether times and numbers are cut short: the figures then say only that everything works.
    pub quick: bool,
    /// Where the figures go.
    pub report: Report,
}

impl Bench {
    /// How long something is measured.
    fn time(&self, seconds: u64) -> Duration {
        if self.quick { Duration::from_secs(1) } else { Duration::from_secs(seconds) }
    }

    /// How often something is measured.
    fn runs(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }
}

/// A measurement that can be asked for by name.
pub struct Measurement {
    /// Its name.
    pub name: &'static str,
    /// What it measures.
    pub what: &'static str,
    /// Carries it out.
    pub run: fn(&mut Bench) -> Result<()>,
}

/// All of them, in the order in which they run.
pub const ALL: &[Measurement] = &[
    Measurement {
        name: "provision",
        what: "durable provisionings a second into an empty registry, beside an echo and a bare loop",
        run: provision::run,
    },
    Measurement {
        name: "connections",
        what: "the same with a new connection for each, beside an echo",
        run: connections::run,
    },
    Measurement { name: "mqtt", what: "the same over MQTT, beside Mosquitto's bare connect", run: mqtt::run },
    Measurement { name: "lone", what: "how long a request takes that is alone", run: lone::run },
    Measurement {
        name: "latency",
        what: "how long a request takes at half load, without and with telemetry",
        run: latency::run,
    },
    Measurement {
        name: "guessing",
        what: "how long a device waits at a quarter of the load while strangers guess passwords and tokens",
        run: guessing::run,
    },
    Measurement { name: "import", what: "rows a second of a CSV import", run: fleet::run },
    Measurement { name: "start", what: "start and memory with a full registry", run: start::run },
    Measurement {
        name: "million",
        what: "durable provisionings a second into a full registry",
        run: million::run,
    },
    Measurement {
        name: "postgres",
        what: "durable provisionings a second on PostgreSQL, beside a bare client",
        run: postgres::run,
    },
    Measurement {
        name: "neighbours",
        what: "joining through a connector beside bare calls, and leaving through it",
        run: neighbours::run,
    },
    Measurement {
        name: "rewrap",
        what: "how long all sealed values take to come under a new key, under load",
        run: rewrap::run,
    },
    Measurement {
        name: "registry",
        what: "listings, selectors and searches over a full registry, beside one look-up",
        run: registry::run,
    },
    Measurement {
        name: "feed",
        what: "the change feed under load, to a reader that is cut off again and again",
        run: feed::run,
    },
];
