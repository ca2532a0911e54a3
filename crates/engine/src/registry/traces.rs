//! Traces of single devices: begun, read and ended by operators.

use std::time::Duration;

use domain::Power;
use domain::name::Name;
use serde_json::json;

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, Tenant, What};
use crate::traces::{Exchange, TraceView};

/// The longest time of a trace.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Registry {
    /// Keeps what a device sends and is told from now on, for that long. A trace that is there already goes on until
    /// then. The device need not be known yet.
    ///
    /// # Errors
    /// `role-insufficient`; `value-invalid` for a name that no device has, or a time beyond 24 hours;
    /// `traces-exhausted`; what the store says.
    pub fn begin_trace(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
        time: Duration,
    ) -> Result<TraceView, RegistryError> {
        operator.require(Power::Operate)?;
        let name = Name::parse(name).map_err(|refusal| RegistryError::invalid("name", refusal.sentence()))?;
        if time.is_zero() || time > LONGEST {
            return Err(RegistryError::invalid("seconds", "it is between 1 and 86400."));
        }
        let until = self.now().plus_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        if !self.traces.begin(tenant.id, operator.hears_nobodys(tenant.id), name.as_str(), until) {
            return Err(RegistryError::TracesExhausted);
        }
        let deed = Deed::of(tenant.id, "trace-begun", json!({ "name": name.as_str(), "until": until.0 }));
        if let Err(error) = self.store.write(|change| self.journal(change, operator, &deed)) {
            // Nobody is watched without a word of it.
            self.traces.end(tenant.id, name.as_str());
            return Err(error);
        }
        let all = self.traces(operator, tenant)?;
        let found = all.into_iter().find(|trace| trace.name == name.as_str());
        found.ok_or_else(|| RegistryError::not_found(What::Trace, name.as_str()))
    }

    /// Ends a trace and forgets what it kept.
    ///
    /// # Errors
    /// `role-insufficient`, `trace-not-found`; what the store says.
    pub fn end_trace(&self, operator: &Operator, tenant: &Tenant, name: &str) -> Result<(), RegistryError> {
        operator.require(Power::Operate)?;
        if !self.traces.end(tenant.id, name) {
            return Err(RegistryError::not_found(What::Trace, name));
        }
        let deed = Deed::of(tenant.id, "trace-ended", json!({ "name": name }));
        self.store.write(|change| self.journal(change, operator, &deed))
    }

    /// The tenant's traces.
    ///
    /// # Errors
    /// `role-insufficient`.
    pub fn traces(&self, operator: &Operator, tenant: &Tenant) -> Result<Vec<TraceView>, RegistryError> {
        operator.require(Power::Operate)?;
        Ok(self.traces.of(tenant.id))
    }

    /// What a trace has kept, the oldest first.
    ///
    /// # Errors
    /// `role-insufficient`, `trace-not-found`.
    pub fn trace(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Vec<Exchange>, RegistryError> {
        operator.require(Power::Operate)?;
        let kept = self.traces.exchanges(tenant.id, name, operator.hears_nobodys(tenant.id));
        kept.ok_or_else(|| RegistryError::not_found(What::Trace, name))
    }
}
