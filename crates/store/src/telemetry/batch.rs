//! Values on their way into a PostgreSQL: all of them by one statement for each table.

use std::collections::BTreeMap;

use super::{Sample, Scope, Value};
use crate::StoreError;
use crate::driver::{Param, Sql};

/// Values, column by column.
#[derive(Default)]
struct Columns<'a> {
    device: Vec<i64>,
    scope: Vec<i64>,
    key: Vec<&'a str>,
    at: Vec<i64>,
    form: Vec<i64>,
    value: Vec<String>,
}

impl<'a> Columns<'a> {
    fn of(samples: impl Iterator<Item = &'a Sample>) -> Columns<'a> {
        let mut columns = Columns::default();
        for sample in samples {
            columns.device.push(sample.device.0.cast_signed());
            columns.scope.push(sample.scope.number());
            columns.key.push(&sample.key);
            columns.at.push(sample.at.0);
            columns.form.push(sample.value.form());
            columns.value.push(text(&sample.value));
        }
        columns
    }

    fn params(&self) -> [Param<'_>; 6] {
        [
            Param::array(&self.device),
            Param::array(&self.scope),
            Param::array(&self.key),
            Param::array(&self.at),
            Param::array(&self.form),
            Param::array(&self.value),
        ]
    }
}

/// Every value into the history, the first at the arrival `first`.
pub(super) fn insert(sql: Sql<'_>, first: i64, samples: &[Sample]) -> Result<(), StoreError> {
    let text = "INSERT INTO history (device, scope, key, at, form, value, arrival)
                SELECT * FROM UNNEST(?::bigint[], ?::bigint[], ?::text[], ?::bigint[], ?::bigint[], ?::text[],
                    ?::bigint[])";
    let columns = Columns::of(samples.iter());
    let arrivals: Vec<i64> = (first..).take(samples.len()).collect();
    let mut params = columns.params().to_vec();
    params.push(Param::array(&arrivals));
    sql.execute(text, &params)?;
    Ok(())
}

/// The last value of each key, in the order of the keys, so that servers do not wait in a circle.
pub(super) fn upsert(sql: Sql<'_>, samples: &[Sample]) -> Result<(), StoreError> {
    let text = "INSERT INTO latest (device, scope, key, at, form, value)
                SELECT * FROM UNNEST(?::bigint[], ?::bigint[], ?::text[], ?::bigint[], ?::bigint[], ?::text[])
                ON CONFLICT (device, scope, key)
                DO UPDATE SET at = excluded.at, form = excluded.form, value = excluded.value
                WHERE excluded.at >= latest.at OR latest.scope = 1";
    let mut last: BTreeMap<(u64, i64, &str), &Sample> = BTreeMap::new();
    for sample in samples {
        let kept = last.entry((sample.device.0, sample.scope.number(), &sample.key)).or_insert(sample);
        if sample.scope == Scope::ClientAttribute || sample.at >= kept.at {
            *kept = sample;
        }
    }
    sql.execute(text, &Columns::of(last.into_values()).params())?;
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::Bool(yes) => i64::from(*yes).to_string(),
        Value::Integer(number) => number.to_string(),
        // As short as it can be read back as the same.
        Value::Double(number) => format!("{number:?}"),
        Value::Text(text) | Value::Json(text) => text.clone(),
    }
}
