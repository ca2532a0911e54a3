//! Counts and latencies of one kind of request.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::ClientError;
use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart, in microseconds. A client gives up long before.
const LONGEST_US: u64 = 600_000_000;

/// What became of one kind of request.
#[derive(Debug)]
pub(crate) struct Tally {
    acknowledged: u64,
    refused: BTreeMap<String, u64>,
    temporary: BTreeMap<String, u64>,
    connection: BTreeMap<String, u64>,
    latency: Histogram<u64>,
}

/// A tally as reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Counts {
    /// Requests that the server acknowledged.
    pub(crate) acknowledged: u64,
    /// Acknowledged requests for each second of the run.
    pub(crate) acknowledged_per_s: f64,
    /// Refused requests, by what the server said.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Requests that the server could not answer at the time, by what it said.
    pub(crate) temporary: BTreeMap<String, u64>,
    /// Requests whose end is unknown, by what happened to the connection.
    pub(crate) connection: BTreeMap<String, u64>,
    /// Latencies of acknowledged requests.
    pub(crate) latency_us: Latency,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "three digits and a constant maximum are within the bounds")]
        let latency = Histogram::new_with_max(LONGEST_US, 3).expect("constant bounds");
        Self {
            acknowledged: 0,
            refused: BTreeMap::new(),
            temporary: BTreeMap::new(),
            connection: BTreeMap::new(),
            latency,
        }
    }

    /// Counts a request that the server acknowledged after this time.
    pub(crate) fn acknowledge(&mut self, latency: Duration) {
        self.acknowledged += 1;
        let latency = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US);
        self.latency.saturating_record(latency.min(LONGEST_US));
    }

    /// Counts a request that was not acknowledged.
    pub(crate) fn fail(&mut self, error: &ClientError) {
        let (kind, words) = match error {
            ClientError::Refused { status, message } => (&mut self.refused, format!("{status}: {message}")),
            ClientError::Temporary { message, .. } => (&mut self.temporary, message.clone()),
            // The text names the local action; the kind of cause is enough to count by.
            ClientError::Connection { cause, .. } => (&mut self.connection, cause.kind().to_string()),
            other => (&mut self.connection, other.to_string()),
        };
        *kind.entry(words).or_default() += 1;
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Requests that had an end, whichever.
    pub(crate) fn ended(&self) -> u64 {
        let failed = [&self.refused, &self.temporary, &self.connection];
        self.acknowledged + failed.into_iter().flat_map(BTreeMap::values).sum::<u64>()
    }

    /// The tally as reported, after this many seconds.
    pub(crate) fn counts(&self, seconds: f64) -> Counts {
        Counts {
            acknowledged: self.acknowledged,
            acknowledged_per_s: rate(self.acknowledged, seconds),
            refused: self.refused.clone(),
            temporary: self.temporary.clone(),
            connection: self.connection.clone(),
            latency_us: Latency {
                mean: (self.latency.mean() * 10.0).round() / 10.0,
                p50: self.latency.value_at_quantile(0.5),
                p90: self.latency.value_at_quantile(0.9),
                p99: self.latency.value_at_quantile(0.99),
                max: self.latency.max(),
            },
        }
    }
}

/// Things for each second, to a tenth.
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds <= 0.0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than the 52 bits of a double")]
    let rate = count as f64 / seconds;
    (rate * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_what_the_server_says() {
        let mut tally = Tally::new();
        let refused =
            |message: &str| ClientError::Refused { status: "FAILURE".into(), message: message.into() };
        tally.fail(&refused("Device not found"));
        tally.fail(&refused("Device not found"));
        tally.fail(&ClientError::Temporary { message: "503 Service Unavailable".into(), retry_after: None });
        tally.acknowledge(Duration::from_micros(1_500));
        let counts = tally.counts(2.0);
        assert_eq!(counts.refused, BTreeMap::from([("FAILURE: Device not found".to_owned(), 2)]));
        assert_eq!(counts.temporary.values().sum::<u64>(), 1);
        assert_eq!((counts.acknowledged, counts.acknowledged_per_s), (1, 0.5));
        assert_eq!(tally.ended(), 4);
    }

    #[test]
    fn latencies_are_kept_to_three_digits() {
        let mut tally = Tally::new();
        for us in 1..=1_000 {
            tally.acknowledge(Duration::from_micros(us));
        }
        tally.acknowledge(Duration::from_secs(3_600));
        let latency = tally.counts(1.0).latency_us;
        assert!(latency.p50.abs_diff(501) <= 1, "{latency:?}");
        assert!(latency.p99.abs_diff(991) <= 1, "{latency:?}");
        assert!(latency.max >= LONGEST_US / 1_000 * 999, "{latency:?}");
    }
}
