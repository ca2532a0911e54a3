//! Attributes, time series and calls, as operators' programs read and write them (section 11.4).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributeValue {
    /// When it was set last, in milliseconds since 1970.
    pub last_update_ts: i64,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Value,
}

/// A point of a time series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Its moment, in milliseconds since 1970.
    pub ts: i64,
    /// Its value: text, unless its own type was asked for; `null` where a key has none.
    pub value: Value,
}

/// A call of an operator to a device.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRequest {
    /// The method.
    pub method: String,
    /// What belongs to it; absent is `null`.
    #[serde(default)]
    pub params: Value,
    /// How long it may take, in milliseconds.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// Whether it is to wait for the device for longer than somebody waits for it.
    #[serde(default)]
    pub persistent: bool,
}

/// How points between two moments are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their mean.
    Avg,
    /// All together.
    Sum,
    /// How many there are.
    Count,
}

/// A word that names no aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownAggregation;

impl Aggregation {
    /// The aggregation of a word; `NONE` is none, and any other word an error.
    ///
    /// # Errors
    /// For a word that is none.
    pub fn parse(word: &str) -> Result<Option<Aggregation>, UnknownAggregation> {
        match word {
            "NONE" => Ok(None),
            "MIN" => Ok(Some(Aggregation::Min)),
            "MAX" => Ok(Some(Aggregation::Max)),
            "AVG" => Ok(Some(Aggregation::Avg)),
            "SUM" => Ok(Some(Aggregation::Sum)),
            "COUNT" => Ok(Some(Aggregation::Count)),
            _ => Err(UnknownAggregation),
        }
    }

    /// What some values come to; whole numbers stay whole but in a mean. What is no number only counts. `None`
    /// where nothing is left.
    #[must_use]
    pub fn of(self, values: &[Value]) -> Option<Value> {
        if self == Aggregation::Count {
            return Some(values.len().into()).filter(|_| !values.is_empty());
        }
        let numbers: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
        let whole: Vec<i64> = values.iter().filter_map(Value::as_i64).collect();
        if numbers.is_empty() {
            return None;
        }
        if self != Aggregation::Avg && whole.len() == numbers.len() {
            let sum = || whole.iter().try_fold(0_i64, |sum, number| sum.checked_add(*number));
            let found = match self {
                Aggregation::Min => whole.iter().min().copied(),
                Aggregation::Max => whole.iter().max().copied(),
                _ => sum(),
            };
            if let Some(found) = found {
                return Some(found.into());
            }
        }
        let sum = || numbers.iter().sum::<f64>();
        Some(Value::from(match self {
            Aggregation::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Aggregation::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Aggregation::Avg => sum() / numbers.len() as f64,
            Aggregation::Sum | Aggregation::Count => sum(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_put_together_as_their_kind_allows() {
        let whole = [json!(1), json!(2), json!(4)];
        let mixed = [json!(23), json!(22.5), json!(21.5), json!(20.5), json!("x")];
        for (word, of_whole, of_mixed) in [
            ("MIN", json!(1), json!(20.5)),
            ("MAX", json!(4), json!(23.0)),
            ("SUM", json!(7), json!(87.5)),
            ("AVG", json!(7.0 / 3.0), json!(21.875)),
            ("COUNT", json!(3), json!(5)),
        ] {
            let aggregation = Aggregation::parse(word).unwrap().unwrap();
            assert_eq!(aggregation.of(&whole), Some(of_whole), "{word}");
            assert_eq!(aggregation.of(&mixed), Some(of_mixed), "{word}");
            assert_eq!(aggregation.of(&[]), None, "{word}");
        }
        assert_eq!(Aggregation::Sum.of(&[json!(i64::MAX), json!(1)]), Some(json!(i64::MAX as f64 + 1.0)));
        assert_eq!(
            (Aggregation::parse("NONE"), Aggregation::parse("avg")),
            (Ok(None), Err(UnknownAggregation))
        );
    }
}
