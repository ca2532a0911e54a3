//! Recording on PostgreSQL: every table's rows of the whole batch in one statement.
//!
//! Others write at the same time, so what decisions read is locked before it is compared: profiles are shared,
//! limited secrets are ours alone, devices in the order of their keys.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{
    DeviceKey, DeviceRecord, ProfileId, Provision, QuestionId, SecretId, TenantId, Timestamp, Version,
};

use super::{Entry, Lost, Recorded};
use crate::StoreError;
use crate::driver::postgres::Transaction;
use crate::driver::{Param, Sql};
use crate::tables::journal::Pen;
use crate::tables::{attributes, devices, operations, questions};

/// One transaction's worth of decisions.
pub(crate) struct Batch<'a, 'e> {
    transaction: &'a Transaction,
    entries: &'e [Entry<'e>],
    /// Each entry's profile by name, if it still is at the version that the decision read.
    profiles: Vec<Option<String>>,
    /// The answers that are still there for those whom they let in.
    answers: HashSet<QuestionId>,
    /// What is left of each limited secret.
    uses: HashMap<SecretId, u64>,
}

impl<'a, 'e> Batch<'a, 'e> {
    pub(crate) fn record(
        transaction: &'a Transaction,
        pen: &mut Pen<'_>,
        entries: &'e [Entry<'e>],
        now: Timestamp,
    ) -> Result<Vec<Result<Recorded, Lost>>, StoreError> {
        let sql = Sql::Postgres(transaction);
        let profiles = standing_profiles(sql, entries)?;
        let answers = answers(sql, entries)?;
        let mut batch = Batch { transaction, entries, profiles, answers, uses: limited(sql, entries)? };
        let mut results = batch.rows()?;
        batch.follow_up(&mut results, now)?;
        for (at, result) in results.iter().enumerate() {
            if let (Ok(_), Some(profile)) = (result, &batch.profiles[at]) {
                pen.provision(entries[at].provision, profile, entries[at].origin, now)?;
            }
        }
        Ok(results)
    }

    /// Writes the devices. Whoever finds no use left is undone with all the others, who are written once more.
    fn rows(&mut self) -> Result<Vec<Result<Recorded, Lost>>, StoreError> {
        let standing: Vec<usize> = (0..self.entries.len())
            .filter(|at| self.profiles[*at].is_some() && self.is_answered(*at))
            .collect();
        let mut exhausted = Vec::new();
        let mut written = if self.uses.is_empty() {
            self.write(&standing)?
        } else {
            self.transaction.batch("SAVEPOINT devices")?;
            let written = self.write(&standing)?;
            exhausted = self.without_use(&standing, &written);
            written
        };
        if !exhausted.is_empty() {
            self.transaction.roll_back_to("devices")?;
            let others: Vec<usize> = standing
                .iter()
                .copied()
                .filter(|at| written.contains(at) && !exhausted.contains(at))
                .collect();
            written = self.write(&others)?;
        }
        self.spend(&written)?;
        self.results(&standing, &written, &exhausted)
    }

    /// Writes the rows of these entries, and says of which. Of several for one device the first counts.
    fn write(&self, which: &[usize]) -> Result<HashSet<usize>, StoreError> {
        let sql = Sql::Postgres(self.transaction);
        let mut first: BTreeMap<DeviceKey, usize> = BTreeMap::new();
        for at in which {
            first.entry(self.entries[*at].provision.device.key).or_insert(*at);
        }
        let provisions = || first.values().map(|at| self.entries[*at].provision);
        let new: Vec<&DeviceRecord> =
            provisions().filter(|it| it.replaces.is_none()).map(|it| &it.device).collect();
        let changed: Vec<(&DeviceRecord, Version)> =
            provisions().filter_map(|it| Some((&it.device, it.replaces?))).collect();
        let mut written = devices::batch::insert(sql, &new)?;
        if !changed.is_empty() {
            written.extend(devices::batch::update(self.transaction, &changed)?);
        }
        Ok(written.iter().filter_map(|key| first.get(key).copied()).collect())
    }

    /// Whether the answer that let this one in is still there, where it needed one.
    fn is_answered(&self, at: usize) -> bool {
        self.entries[at].provision.answered.is_none_or(|question| self.answers.contains(&question))
    }

    /// What is written behind a device's row. The answers are locked, so nobody has used them meanwhile.
    fn follow_up(&self, results: &mut [Result<Recorded, Lost>], now: Timestamp) -> Result<(), StoreError> {
        let sql = Sql::Postgres(self.transaction);
        let mut written: Vec<(&Provision, &mut Recorded)> = self
            .entries
            .iter()
            .zip(results)
            .filter_map(|(entry, result)| Some((entry.provision, result.as_mut().ok()?)))
            .filter(|(provision, _)| super::has_more(provision))
            .collect();
        let answers: Vec<QuestionId> = written.iter().filter_map(|(it, _)| it.answered).collect();
        if questions::use_up_all(sql, &answers)? < answers.len() as u64 {
            return Err(StoreError::Unavailable("an answer was used twice in one batch".to_owned()));
        }
        for (it, _) in written.iter().filter(|(it, _)| !it.initial_attributes.is_empty()) {
            attributes::begin(sql, it.device.tenant, it.device.key, &it.initial_attributes, now)?;
        }
        written.retain(|(it, _)| !it.plan.is_empty());
        let news: Vec<_> =
            written.iter().map(|(it, _)| (super::operation(it), it.replaces.is_none())).collect();
        for ((_, recorded), operation) in written.iter_mut().zip(operations::begin_many(sql, &news, now)?) {
            recorded.operation = Some(operation);
        }
        Ok(())
    }

    /// Of those that were written, in their order, the ones that find no use left.
    fn without_use(&self, standing: &[usize], written: &HashSet<usize>) -> Vec<usize> {
        let mut left = self.uses.clone();
        let mut exhausted = Vec::new();
        for at in standing.iter().copied().filter(|at| written.contains(at)) {
            match self.entries[at].provision.spends.and_then(|secret| left.get_mut(&secret)) {
                Some(0) => exhausted.push(at),
                Some(left) => *left -= 1,
                None => {}
            }
        }
        exhausted
    }

    fn spend(&self, written: &HashSet<usize>) -> Result<(), StoreError> {
        let mut spent: HashMap<SecretId, i64> = HashMap::new();
        for at in written {
            if let Some(secret) =
                self.entries[*at].provision.spends.filter(|secret| self.uses.contains_key(secret))
            {
                *spent.entry(secret).or_default() += 1;
            }
        }
        if spent.is_empty() {
            return Ok(());
        }
        let (secrets, counts): (Vec<i64>, Vec<i64>) =
            spent.into_iter().map(|(secret, count)| (secret.0.cast_signed(), count)).unzip();
        let text = "UPDATE group_secrets SET uses_left = uses_left - spent
                    FROM UNNEST(?::bigint[], ?::bigint[]) AS uses (secret, spent) WHERE id = secret";
        Sql::Postgres(self.transaction).execute(text, &[Param::array(&secrets), Param::array(&counts)])?;
        Ok(())
    }

    fn results(
        &self,
        standing: &[usize],
        written: &HashSet<usize>,
        exhausted: &[usize],
    ) -> Result<Vec<Result<Recorded, Lost>>, StoreError> {
        let unasked =
            |at: usize| if self.profiles[at].is_some() { Lost::AnswerGone } else { Lost::ProfileChanged };
        let mut results: Vec<_> = (0..self.entries.len()).map(|at| Err(unasked(at))).collect();
        let mut lost = Vec::new();
        for at in standing.iter().copied() {
            if exhausted.contains(&at) {
                results[at] = Err(Lost::UsesExhausted);
            } else if written.contains(&at) {
                results[at] = Ok(Recorded { operation: None });
            } else {
                lost.push(at);
            }
        }
        for (at, why) in lost.iter().zip(self.losses(&lost)?) {
            results[*at] = Err(why);
        }
        Ok(results)
    }

    /// What stood in the way of rows that were not written.
    fn losses(&self, lost: &[usize]) -> Result<Vec<Lost>, StoreError> {
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let sql = Sql::Postgres(self.transaction);
        let devices = || lost.iter().map(|at| &self.entries[*at].provision.device);
        let names: Vec<(TenantId, &str)> =
            devices().map(|device| (device.tenant, device.name.as_str())).collect();
        let named = devices::batch::named(sql, &names)?;
        let verifiers: Vec<_> =
            devices().filter_map(|device| devices::verifier(&device.credential)).collect();
        let mut holders = devices::batch::by_verifier(sql, &verifiers)?.into_iter();
        let why = lost.iter().zip(named).map(|(at, named)| {
            let provision = self.entries[*at].provision;
            let chose = devices::verifier(&provision.device.credential).is_some();
            super::why_lost(
                provision,
                named.as_ref(),
                chose.then(|| holders.next().flatten()).flatten().as_ref(),
            )
        });
        Ok(why.collect())
    }
}

/// The names of the profiles that still are what the decisions read; they stay so until the end.
fn standing_profiles(sql: Sql<'_>, entries: &[Entry<'_>]) -> Result<Vec<Option<String>>, StoreError> {
    let profiles: HashSet<ProfileId> = entries.iter().map(|entry| entry.provision.device.profile).collect();
    let profiles: Vec<i64> = profiles.into_iter().map(|profile| profile.0.cast_signed()).collect();
    let text = "SELECT id, tenant, version, name FROM profiles WHERE id = ANY(?) ORDER BY id FOR SHARE";
    let mut found = HashMap::new();
    sql.each(text, &[Param::array(&profiles)], |row| {
        let key = (ProfileId(row.unsigned(0)?), TenantId(row.unsigned(1)?), Version(row.unsigned(2)?));
        found.insert(key, row.string(3)?);
        Ok(true)
    })?;
    let standing = |entry: &Entry<'_>| {
        let device = &entry.provision.device;
        found.get(&(device.profile, device.tenant, entry.provision.profile_version)).cloned()
    };
    Ok(entries.iter().map(standing).collect())
}

/// The answers that decisions stand on and that are still there; nobody else uses them until the end.
fn answers(sql: Sql<'_>, entries: &[Entry<'_>]) -> Result<HashSet<QuestionId>, StoreError> {
    let asked: HashSet<QuestionId> = entries.iter().filter_map(|entry| entry.provision.answered).collect();
    if asked.is_empty() {
        return Ok(asked);
    }
    let asked: Vec<i64> = asked.into_iter().map(|question| question.0.cast_signed()).collect();
    let text = "SELECT question FROM questions WHERE question = ANY(?) AND verdict = 'allowed'
                ORDER BY question FOR UPDATE";
    let read = |row: &crate::driver::Row<'_>| Ok(QuestionId(row.unsigned(0)?));
    Ok(sql.query(text, &[Param::array(&asked)], read)?.into_iter().collect())
}

/// What is left of each secret that is limited; nobody else takes from them until the end.
fn limited(sql: Sql<'_>, entries: &[Entry<'_>]) -> Result<HashMap<SecretId, u64>, StoreError> {
    let secrets: HashSet<SecretId> = entries.iter().filter_map(|entry| entry.provision.spends).collect();
    if secrets.is_empty() {
        return Ok(HashMap::new());
    }
    let secrets: Vec<i64> = secrets.into_iter().map(|secret| secret.0.cast_signed()).collect();
    let text = "SELECT id, uses_left FROM group_secrets WHERE id = ANY(?) AND uses_left IS NOT NULL
                ORDER BY id FOR UPDATE";
    let read = |row: &crate::driver::Row<'_>| Ok((SecretId(row.unsigned(0)?), row.unsigned(1)?));
    Ok(sql.query(text, &[Param::array(&secrets)], read)?.into_iter().collect())
}
