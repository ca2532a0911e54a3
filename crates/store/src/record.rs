//! Decisions become rows: many at once, one transaction, one sync.

mod postgres;

use std::collections::HashMap;
use std::collections::hash_map;

use domain::plan::OperationKind;
use domain::{
    DeviceRecord, OperationId, Origin, ProfileId, Provision, SecretId, TenantId, Timestamp, Version,
};

use crate::StoreError;
use crate::driver::{Sql, params};
use crate::secrets::{Place, Unsealed, clear};
use crate::tables::journal::Pen;
use crate::tables::operations::{self, NewOperation};
use crate::tables::{attributes, devices, profiles, questions};

/// A decision to be recorded, and where its request came from.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What was decided.
    pub provision: &'a Provision,
    /// Where the request came from.
    pub origin: Origin,
}

/// A decision that is recorded and synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The operation that follows from it, where its plan has a step.
    pub operation: Option<OperationId>,
}

/// Why a decision was not recorded. Its neighbours are not concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Another device has the name by now.
    NameTaken,
    /// The device is not what the decision saw.
    DeviceChanged,
    /// The profile is not what the decision saw.
    ProfileChanged,
    /// The credentials that the device chose belong to another one.
    CredentialsTaken {
        /// Whether that one is in another tenant.
        elsewhere: bool,
    },
    /// Its name could be had, but the group secret has no use left for it.
    UsesExhausted,
    /// The database does not take it, whatever else is recorded with it.
    Unstorable,
    /// The answer that let it in is not there any more.
    AnswerGone,
}

/// One transaction's worth of decisions.
pub(crate) struct Recorder<'a, 'p> {
    sql: Sql<'a>,
    pen: &'p mut Pen<'a>,
    now: Timestamp,
    /// The version at which each profile stands, and its name; `None` where it is gone.
    profiles: HashMap<(TenantId, ProfileId), Option<(Version, String)>>,
    /// What is left of each limited secret; `None` where it is not limited any more.
    uses: HashMap<SecretId, Option<u64>>,
}

impl<'a, 'p> Recorder<'a, 'p> {
    pub(crate) fn new(sql: Sql<'a>, pen: &'p mut Pen<'a>, now: Timestamp) -> Recorder<'a, 'p> {
        Recorder { sql, pen, now, profiles: HashMap::new(), uses: HashMap::new() }
    }

    pub(crate) fn record_all(
        mut self,
        entries: &[Entry<'_>],
    ) -> Result<Vec<Result<Recorded, Lost>>, StoreError> {
        if let Sql::Postgres(transaction) = self.sql {
            return postgres::Batch::record(transaction, self.pen, entries, self.now);
        }
        let results = entries.iter().map(|entry| self.record(entry)).collect::<Result<Vec<_>, _>>()?;
        let recorded = entries.iter().zip(&results).filter(|(_, result)| result.is_ok());
        let provisions = recorded.map(|(entry, _)| entry.provision);
        devices::added(self.sql, provisions.filter(|new| new.replaces.is_none()).map(|new| &new.device))?;
        for (secret, left) in &self.uses {
            if let Some(left) = left {
                profiles::spend(self.sql, *secret, *left)?;
            }
        }
        Ok(results)
    }

    fn record(&mut self, entry: &Entry<'_>) -> Result<Result<Recorded, Lost>, StoreError> {
        let provision = entry.provision;
        let Some(profile) = self.standing_profile(provision)? else { return Ok(Err(Lost::ProfileChanged)) };
        let operation = match self.write_whole(provision)? {
            Ok(operation) => operation,
            Err(lost) => return Ok(Err(lost)),
        };
        self.pen.provision(provision, &profile, entry.origin, self.now)?;
        Ok(Ok(Recorded { operation }))
    }

    /// A record of more than one row is written as a whole or not at all.
    fn write_whole(
        &mut self,
        provision: &Provision,
    ) -> Result<Result<Option<OperationId>, Lost>, StoreError> {
        if !has_more(provision) {
            return Ok(self.write_and_spend(provision)?.map(|()| None));
        }
        self.sql.execute("SAVEPOINT whole", params![])?;
        let written = match self.write_and_spend(provision)? {
            Ok(()) => {
                follow_up(self.sql, provision, self.now)?.inspect_err(|_| self.spend(provision.spends, 1))
            }
            Err(lost) => Err(lost),
        };
        if written.is_err() {
            self.sql.execute("ROLLBACK TO whole", params![])?;
        }
        self.sql.execute("RELEASE whole", params![])?;
        Ok(written)
    }

    /// The name of the profile, if it still is at the version that the decision read.
    fn standing_profile(&mut self, provision: &Provision) -> Result<Option<String>, StoreError> {
        let key = (provision.device.tenant, provision.device.profile);
        let standing = match self.profiles.entry(key) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(new) => new.insert(profiles::standing(self.sql, key.0, key.1)?),
        };
        let standing = standing.as_ref().filter(|(version, _)| *version == provision.profile_version);
        Ok(standing.map(|(_, name)| name.clone()))
    }

    /// Each takes its name, and only then one of the uses that are left; without one its row is undone.
    fn write_and_spend(&mut self, provision: &Provision) -> Result<Result<(), Lost>, StoreError> {
        let Some(left) = self.uses_left(provision.spends)? else { return self.write(provision) };
        if left > 0 {
            let written = self.write(provision)?;
            if written.is_ok() {
                self.spend(provision.spends, -1);
            }
            return Ok(written);
        }
        self.sql.execute("SAVEPOINT exhausted", params![])?;
        let written = self.write(provision)?;
        self.sql.execute("ROLLBACK TO exhausted", params![])?;
        self.sql.execute("RELEASE exhausted", params![])?;
        Ok(written.and(Err(Lost::UsesExhausted)))
    }

    /// What is left of the secret that loses a use; `None` where none is lost or it is not limited.
    fn uses_left(&mut self, spends: Option<SecretId>) -> Result<Option<u64>, StoreError> {
        let Some(secret) = spends else { return Ok(None) };
        match self.uses.entry(secret) {
            hash_map::Entry::Occupied(known) => Ok(*known.get()),
            hash_map::Entry::Vacant(new) => Ok(*new.insert(profiles::uses_left(self.sql, secret)?)),
        }
    }

    /// Takes a use, or gives it back.
    fn spend(&mut self, spends: Option<SecretId>, by: i64) {
        if let Some(Some(left)) = spends.and_then(|secret| self.uses.get_mut(&secret)) {
            *left = left.saturating_add_signed(by);
        }
    }

    fn write(&self, provision: &Provision) -> Result<Result<(), Lost>, StoreError> {
        let written = match provision.replaces {
            None => devices::insert(self.sql, &provision.device)?,
            Some(stands) => devices::update(self.sql, &provision.device, stands)?,
        };
        if written { Ok(Ok(())) } else { self.loss(provision).map(Err) }
    }

    /// What stood in the way of a row that was not written.
    fn loss(&self, provision: &Provision) -> Result<Lost, StoreError> {
        let device = &provision.device;
        let named = devices::named(self.sql, device.tenant, &device.name)?;
        let verifier = devices::verifier(&device.credential);
        let holder = verifier.map(|verifier| devices::by_verifier(self.sql, &verifier)).transpose()?;
        Ok(why_lost(provision, named.as_ref(), holder.flatten().as_ref()))
    }
}

/// What stood in the way: whoever has the name now, or whoever holds the credentials.
fn why_lost(provision: &Provision, named: Option<&DeviceRecord>, holder: Option<&DeviceRecord>) -> Lost {
    let device = &provision.device;
    match (provision.replaces, named) {
        (None, Some(_)) => return Lost::NameTaken,
        (Some(stands), Some(present)) if present.key == device.key && present.version == stands => {}
        (Some(_), _) => return Lost::DeviceChanged,
        (None, None) => {}
    }
    holder.map_or(Lost::DeviceChanged, |holder| Lost::CredentialsTaken {
        elsewhere: holder.tenant != device.tenant,
    })
}

/// Whether a record is more than the device's own row.
pub(crate) fn has_more(provision: &Provision) -> bool {
    provision.answered.is_some() || !provision.plan.is_empty() || !provision.initial_attributes.is_empty()
}

/// What is written behind the device's row: the answer that let it in is used up, its attributes begin, and so
/// does its operation.
pub(crate) fn follow_up(
    sql: Sql<'_>,
    provision: &Provision,
    now: Timestamp,
) -> Result<Result<Option<OperationId>, Lost>, StoreError> {
    if let Some(question) = provision.answered
        && !questions::use_up(sql, question)?
    {
        return Ok(Err(Lost::AnswerGone));
    }
    let (tenant, device) = (provision.device.tenant, provision.device.key);
    attributes::begin(sql, tenant, device, &provision.initial_attributes, now)?;
    if provision.plan.is_empty() {
        return Ok(Ok(None));
    }
    operations::begin(sql, &operation(provision), now).map(|operation| Ok(Some(operation)))
}

/// The operation that carries a decision's plan out.
fn operation(provision: &Provision) -> NewOperation<'_> {
    NewOperation {
        tenant: provision.device.tenant,
        device: provision.device.key,
        kind: OperationKind::Join,
        deed: provision.deed.word(),
        plan: &provision.plan,
        grace_until: None,
    }
}

/// The clear values that have to be sealed before the rows that name them, each with its place.
pub(crate) fn to_seal(entries: &[Entry<'_>]) -> Result<Vec<Unsealed>, StoreError> {
    let chosen = |entry: &Entry<'_>| {
        let provision = entry.provision;
        let clear = clear::encode(provision.chosen.as_ref()?);
        let place = Place::of_device(provision.device.tenant, provision.device.key, provision.generation);
        Some(clear.map(|clear| Unsealed { place, clear }))
    };
    entries.iter().filter_map(chosen).collect()
}
