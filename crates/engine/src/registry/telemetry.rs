//! Time series of devices, as operators read, add to and prune them.

use domain::{DeviceKey, Timestamp};
use serde_json::json;
use store::{Change, LastValue, Latest, Sample, Scope, Stretch, Value};

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, Tenant, What};

/// A point that an operator adds.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPoint {
    /// Its key.
    pub key: String,
    /// Its moment; `None` is now.
    pub at: Option<Timestamp>,
    /// Its value.
    pub value: Value,
}

/// Which points of each key are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// From this moment on.
    pub from: Timestamp,
    /// Up to this moment, which is not in it.
    pub until: Timestamp,
    /// The most points of a key.
    pub limit: usize,
    /// Whether the oldest come first.
    pub oldest_first: bool,
}

impl Registry {
    /// The last value of each key of a device's time series, by its public id.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn last_values(&self, tenant: &Tenant, id: &str) -> Result<Vec<Latest>, RegistryError> {
        let device = self.key_of_id(tenant, id)?;
        let mut latest = self.store.telemetry().latest(device)?;
        latest.retain(|it| it.scope == Scope::Timeseries);
        Ok(latest)
    }

    /// The points of some keys, in the order of `keys`.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn points(
        &self,
        tenant: &Tenant,
        id: &str,
        keys: &[String],
        reading: Reading,
    ) -> Result<Vec<Vec<Latest>>, RegistryError> {
        let device = self.key_of_id(tenant, id)?;
        let Reading { from, until, limit, oldest_first } = reading;
        let of = |key: &String| {
            self.store.telemetry().points(Stretch { device, key, from, until }, limit, oldest_first)
        };
        Ok(keys.iter().map(of).collect::<Result<_, _>>()?)
    }

    /// Adds points to a device's time series, as if it had sent them.
    ///
    /// # Errors
    /// `device-not-found`; `value-invalid` where one cannot be stored.
    pub fn add_points(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: &str,
        points: &[NewPoint],
    ) -> Result<(), RegistryError> {
        let (device, now) = (self.key_of_id(tenant, id)?, self.now());
        let sample = |point: &NewPoint| Sample {
            device,
            scope: Scope::Timeseries,
            key: point.key.clone(),
            at: point.at.unwrap_or(now),
            value: point.value.clone(),
        };
        let samples: Vec<Sample> = points.iter().map(sample).collect();
        if !samples.iter().all(Sample::is_storable) {
            return Err(RegistryError::invalid("values", "one of them cannot be stored."));
        }
        self.note_values(operator, tenant, id, "telemetry-added", points.len())?;
        Ok(self.store.telemetry().append(&samples, now)?)
    }

    /// Deletes points of keys between two moments, or keys altogether.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn delete_points(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: &str,
        keys: &[String],
        within: Option<(Timestamp, Timestamp, LastValue)>,
    ) -> Result<(), RegistryError> {
        let Some((from, until, last)) = within else {
            return self.delete_told(operator, tenant, id, Scope::Timeseries, keys);
        };
        let device = self.note_values(operator, tenant, id, "telemetry-deleted", keys.len())?;
        for key in keys {
            self.store.telemetry().delete_points(Stretch { device, key, from, until }, last)?;
        }
        Ok(())
    }

    /// Forgets keys that a device has told.
    pub(super) fn delete_told(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: &str,
        scope: Scope,
        keys: &[String],
    ) -> Result<(), RegistryError> {
        let device = self.note_values(operator, tenant, id, "telemetry-deleted", keys.len())?;
        for key in keys {
            self.store.telemetry().delete_key(device, scope, key)?;
        }
        Ok(())
    }

    fn note_values(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: &str,
        kind: &'static str,
        count: usize,
    ) -> Result<DeviceKey, RegistryError> {
        self.store.write(|change: &mut Change<'_>| {
            let record = self.existing_id(change, tenant, id)?.record;
            let detail = json!({ "name": record.name, "values": count });
            self.journal(change, operator, &Deed::on(&record, kind, detail))?;
            Ok(record.key)
        })
    }

    fn key_of_id(&self, tenant: &Tenant, id: &str) -> Result<DeviceKey, RegistryError> {
        let row = self.store.read(|view| self.of_id(view, tenant, id))?;
        row.map(|row| row.record.key).ok_or_else(|| RegistryError::not_found(What::Device, id))
    }
}
