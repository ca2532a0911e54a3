//! What a simulation has found, for people and for programs.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::tally::Counts;
use crate::failure::Failure;
use crate::render::Output;

/// What a simulation has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// How the devices spoke.
    pub(crate) wire: String,
    /// The server's address.
    pub(crate) target: String,
    /// Makes the same names again.
    pub(crate) seed: u64,
    /// How many devices there were.
    pub(crate) devices: u64,
    /// How many of them were busy at once.
    pub(crate) connections: u64,
    /// Devices that were not even tried, because the run ended before.
    pub(crate) not_tried: u64,
    /// How long the run took.
    pub(crate) seconds: f64,
    /// What became of the provision requests.
    pub(crate) provision: Counts,
    /// What became of the telemetry, if there was any to report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) telemetry: Option<Counts>,
    /// How many telemetry values each device was to report.
    pub(crate) telemetry_of_each: u32,
}

impl Report {
    /// Devices that were not provisioned, or whose telemetry was not taken over as a whole.
    pub(crate) fn missing(&self) -> u64 {
        let unprovisioned = self.devices.saturating_sub(self.provision.acknowledged);
        let values = self.provision.acknowledged.saturating_mul(self.telemetry_of_each.into());
        let lost = values.saturating_sub(self.telemetry.as_ref().map_or(0, |counts| counts.acknowledged));
        unprovisioned + lost.min(self.provision.acknowledged)
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        let unwritable = |error: String| Failure::usage(format!("cannot write {}: {error}", file.display()));
        let json = serde_json::to_string_pretty(self).map_err(|error| unwritable(error.to_string()))?;
        fs::write(file, json + "\n").map_err(|error| unwritable(error.to_string()))
    }

    /// Shows the report to people.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn show(&self, out: &mut Output) -> Result<(), Failure> {
        let Self { devices, wire, target, seconds, seed, .. } = self;
        out.note(&format!("{devices} devices by {wire} against {target} in {seconds:.2} s (seed {seed})"))?;
        show_counts("provisioned", &self.provision, out)?;
        if let Some(telemetry) = &self.telemetry {
            show_counts("telemetry values stored", telemetry, out)?;
        }
        if self.not_tried > 0 {
            out.note(&format!("{} devices were not tried", self.not_tried))?;
        }
        Ok(())
    }
}

fn show_counts(what: &str, counts: &Counts, out: &mut Output) -> Result<(), Failure> {
    let latency = counts.latency_us;
    out.note(&format!("{} {what}, {:.1} in a second", counts.acknowledged, counts.acknowledged_per_s))?;
    if counts.acknowledged > 0 {
        let [p50, p90, p99, max] = [latency.p50, latency.p90, latency.p99, latency.max].map(milliseconds);
        out.note(&format!("  latency p50 {p50}, p90 {p90}, p99 {p99}, max {max}"))?;
    }
    let kinds = [
        ("refused", &counts.refused),
        ("no answer now", &counts.temporary),
        ("connection", &counts.connection),
    ];
    for (kind, by_message) in kinds {
        for (message, count) in by_message {
            out.note(&format!("  {kind}: {count} x {message}"))?;
        }
    }
    Ok(())
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:03} ms", us / 1_000, us % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::simulate::tally::Tally;

    fn report(devices: u64, acknowledged: u64, telemetry_of_each: u32, values: u64) -> Report {
        let tally = |count: u64| {
            let mut tally = Tally::new();
            (0..count).for_each(|_| tally.acknowledge(std::time::Duration::from_micros(1_234)));
            tally.counts(1.0)
        };
        Report {
            wire: "thingsboard-http".into(),
            target: "127.0.0.1:8080".into(),
            seed: 7,
            devices,
            connections: 1,
            not_tried: 0,
            seconds: 1.0,
            provision: tally(acknowledged),
            telemetry: (telemetry_of_each > 0).then(|| tally(values)),
            telemetry_of_each,
        }
    }

    #[test]
    fn a_device_counts_as_served_only_with_all_it_was_to_do() {
        assert_eq!(report(10, 10, 0, 0).missing(), 0);
        assert_eq!(report(10, 7, 0, 0).missing(), 3);
        assert_eq!(report(10, 10, 2, 20).missing(), 0);
        assert_eq!(report(10, 10, 2, 19).missing(), 1);
        assert_eq!(report(10, 5, 2, 0).missing(), 10);
    }

    #[test]
    fn the_report_names_its_percentiles() {
        let json = serde_json::to_value(report(2, 2, 0, 0)).unwrap();
        assert_eq!(json["provision"]["latency_us"]["p99"], 1_234);
        assert_eq!(json["provision"]["acknowledged_per_s"], 2.0);
        assert_eq!(milliseconds(1_234), "1.234 ms");
    }
}
