//! Devices by selector: labels, state, profile, when they were heard of last, and text; page by page.
//!
//! One condition leads, over an index of its own, and the others are tested on what it finds. On SQLite it is chosen
//! by counting a little of what each would find; PostgreSQL has statistics for that.

use domain::{DeviceKey, DeviceState, ProfileId, TenantId, Timestamp};

use super::words::{Clause, text_matches, trigrams};
use super::{COLUMNS, DeviceRow, View, more, read_row};
use crate::StoreError;
use crate::driver::{Sql, params};

/// How far it is counted what a condition would find.
const COUNTED: u64 = 5000;

/// Which devices of a tenant. What is `None` or empty does not narrow.
#[derive(Clone, Debug, Default)]
pub struct Selection<'a> {
    /// Only those of this profile.
    pub profile: Option<ProfileId>,
    /// Only those in one of these states.
    pub states: Option<&'a [DeviceState]>,
    /// Only those with exactly this note.
    pub note: Option<&'a str>,
    /// Only those with all of these labels.
    pub labels: &'a [(String, String)],
    /// Only those whose name begins so.
    pub name_prefix: Option<&'a str>,
    /// Only those with this text in name or note, whatever the case of the letters A to Z.
    pub text: Option<&'a str>,
    /// Only those that were heard of then or later.
    pub seen_after: Option<Timestamp>,
    /// Only those that were heard of, and last before then.
    pub seen_before: Option<Timestamp>,
}

/// Behind which device a page begins; which kind it is says [`Selection::order`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The one of this name.
    Name(String),
    /// The one with this key.
    Key(DeviceKey),
    /// The one that was heard of then.
    Seen(Timestamp, DeviceKey),
}

/// In which order a selection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// By name.
    ByName,
    /// In the order in which they were made.
    ByAge,
    /// Who was heard of longest ago comes first.
    BySeen,
}

/// What leads.
#[derive(Clone, Copy, Debug)]
enum Lead<'a> {
    Name,
    Age,
    Profile,
    State(DeviceState),
    Label(&'a (String, String)),
    Text,
    /// The devices that are not in the index of texts yet.
    Due,
    Seen,
}

impl Selection<'_> {
    /// In which order its devices are told.
    pub fn order(&self) -> Told {
        let narrow = self.profile.is_some() || self.states.is_some() || self.note.is_some();
        match () {
            () if self.seen_after.is_some() || self.seen_before.is_some() => Told::BySeen,
            () if narrow || !self.labels.is_empty() || self.text.is_some() => Told::ByAge,
            () => Told::ByName,
        }
    }

    /// Where the page behind a device begins.
    pub fn behind(&self, row: &DeviceRow) -> Behind {
        match self.order() {
            Told::ByName => Behind::Name(row.record.name.clone()),
            Told::ByAge => Behind::Key(row.record.key),
            Told::BySeen => Behind::Seen(row.seen_at.unwrap_or(Timestamp(0)), row.record.key),
        }
    }

    /// What the index of texts is asked for.
    fn wanted_text(&self) -> Option<String> {
        self.text.or(self.note).and_then(trigrams)
    }
}

impl View<'_> {
    /// At most `limit` devices of a selection in its order, those behind `after`.
    ///
    /// # Errors
    /// What the database says.
    pub fn select_devices(
        &self,
        tenant: TenantId,
        selection: &Selection<'_>,
        after: Option<&Behind>,
        limit: u64,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        let leads = self.leads(tenant, selection)?;
        let mut rows = Vec::new();
        for lead in &leads {
            let clause = Self::clause(self.sql, tenant, selection, *lead, after);
            // What leads has this order by itself; SQLite does not see that the joined key is the same.
            let order = match (selection.order(), lead) {
                (Told::ByName, _) => "name_key",
                (Told::BySeen, _) => "seen, led.which",
                (Told::ByAge, Lead::Label(_) | Lead::Text | Lead::Due) => "led.which",
                (Told::ByAge, _) => "devices.device",
            };
            let (more, held) = (more(self.sql), self.held_devices());
            let text = format!("SELECT {COLUMNS}, {more} {} ORDER BY {order} LIMIT ?{held}", clause.text);
            rows.extend(self.sql.query(&text, &clause.params_and(&[limit.into()]), read_row)?);
        }
        if leads.len() > 1 {
            rows.sort_by_key(|row| row.record.key);
            rows.dedup_by_key(|row| row.record.key);
            rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Ok(rows)
    }

    /// What leads; of several each finds its part.
    fn leads<'s>(&self, tenant: TenantId, selection: &'s Selection<'_>) -> Result<Vec<Lead<'s>>, StoreError> {
        match (selection.order(), self.sql) {
            (Told::ByName, _) => return Ok(vec![Lead::Name]),
            (Told::BySeen, _) => return Ok(vec![Lead::Seen]),
            (Told::ByAge, Sql::Postgres(_)) => return Ok(vec![Lead::Age]),
            (Told::ByAge, Sql::Sqlite(_)) => {}
        }
        let mut candidates: Vec<Vec<Lead<'s>>> = Vec::new();
        if selection.wanted_text().is_some() {
            candidates.push(vec![Lead::Text, Lead::Due]);
        }
        candidates.extend(selection.labels.iter().map(|label| vec![Lead::Label(label)]));
        candidates
            .extend(selection.states.map(|states| states.iter().map(|state| Lead::State(*state)).collect()));
        candidates.extend(selection.profile.map(|_| vec![Lead::Profile]));
        let mut best = (vec![Lead::Age], u64::MAX);
        for leads in candidates {
            let count = if best.1 == u64::MAX && selection.is_single() {
                0
            } else {
                self.counted(tenant, selection, &leads)?
            };
            if count < best.1 {
                best = (leads, count);
            }
        }
        Ok(best.0)
    }

    /// How many devices something would find, up to [`COUNTED`] for each.
    fn counted(
        &self,
        tenant: TenantId,
        selection: &Selection<'_>,
        leads: &[Lead<'_>],
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for lead in leads {
            let mut clause = Clause::default();
            source(&mut clause, tenant, selection, *lead, None);
            let text = format!("SELECT count(*) FROM (SELECT 1 {} LIMIT {COUNTED})", clause.text);
            count += self.sql.one(&text, &clause.params_and(&[]), |row| row.unsigned(0))?;
        }
        Ok(count)
    }

    fn clause(
        sql: Sql<'_>,
        tenant: TenantId,
        selection: &Selection<'_>,
        lead: Lead<'_>,
        after: Option<&Behind>,
    ) -> Clause {
        let mut clause = Clause::default();
        let join = if sql.is_postgres() { "JOIN" } else { "CROSS JOIN" };
        match lead {
            Lead::Name => clause.add("FROM devices", []),
            Lead::Age | Lead::Profile | Lead::State(_) if sql.is_postgres() => clause.add("FROM devices", []),
            Lead::Age => clause.add("FROM devices INDEXED BY devices_by_age", []),
            Lead::Profile => clause.add("FROM devices INDEXED BY devices_by_profile", []),
            Lead::State(_) => clause.add("FROM devices INDEXED BY devices_by_state", []),
            Lead::Label(_) | Lead::Text | Lead::Due | Lead::Seen => {
                clause.add("FROM (SELECT which", []);
                clause.add(if matches!(lead, Lead::Seen) { ", seen" } else { "" }, []);
                source(&mut clause, tenant, selection, lead, after);
                clause.add(&format!(") AS led {join} devices ON devices.device = led.which"), []);
            }
        }
        clause.add(" WHERE tenant = ? AND namespace = ''", [tenant.into()]);
        match after {
            Some(Behind::Name(name)) => clause.add(" AND name_key > ?", [name.as_str().into()]),
            Some(Behind::Key(key)) => clause.add(" AND devices.device > ?", [(*key).into()]),
            Some(Behind::Seen(..)) | None => {}
        }
        if let Some(profile) = selection.profile {
            clause.add(" AND profile = ?", [profile.into()]);
        }
        match (lead, selection.states) {
            (Lead::State(state), _) => clause.add(" AND state = ?", [state.word().into()]),
            (_, Some(states)) => {
                let places = vec!["?"; states.len()].join(", ");
                clause.add(
                    &format!(" AND state IN ({places})"),
                    states.iter().map(|state| state.word().into()),
                );
            }
            _ => {}
        }
        for (key, value) in selection.labels {
            clause.add(
                " AND EXISTS (SELECT 1 FROM device_labels AS l WHERE l.device = devices.device AND l.key = ? AND l.value = ?)",
                [key.as_str().into(), value.as_str().into()],
            );
        }
        if let Some(prefix) = selection.name_prefix.filter(|prefix| !prefix.is_empty()) {
            let end = format!("{prefix}\u{10ffff}");
            clause.add(" AND name_key >= ? AND name_key <= ?", [prefix.into(), end.as_str().into()]);
        }
        if let Some(note) = selection.note {
            clause.add(" AND label = ?", [note.into()]);
        }
        if let Some(text) = selection.text {
            text_matches(&mut clause, sql, text);
        }
        clause
    }
}

impl Selection<'_> {
    /// Whether one condition alone can lead.
    fn is_single(&self) -> bool {
        let conditions = usize::from(self.profile.is_some())
            + usize::from(self.states.is_some())
            + usize::from(self.text.is_some() || self.note.is_some())
            + self.labels.len();
        conditions <= 1
    }
}

/// `FROM` of the keys that something finds by its index, as `which`.
fn source(
    clause: &mut Clause,
    tenant: TenantId,
    selection: &Selection<'_>,
    lead: Lead<'_>,
    after: Option<&Behind>,
) {
    let key = match after {
        Some(Behind::Key(key)) => key.0,
        _ => 0,
    };
    match lead {
        Lead::Label((name, value)) => clause.add(
            " FROM (SELECT device AS which FROM device_labels WHERE tenant = ? AND key = ? AND value = ? AND device > ?) AS labelled",
            [tenant.into(), name.as_str().into(), value.as_str().into(), key.into()],
        ),
        Lead::Text => clause.add(
            " FROM (SELECT rowid AS which FROM device_texts WHERE device_texts MATCH ? AND rowid > ?) AS texts",
            [selection.wanted_text().unwrap_or_default().as_str().into(), key.into()],
        ),
        Lead::Due => clause.add(" FROM (SELECT device AS which FROM texts_due WHERE device > ?) AS due", [key.into()]),
        Lead::Seen => {
            let from = selection.seen_after.unwrap_or(Timestamp(i64::MIN));
            let until = selection.seen_before.unwrap_or(Timestamp(i64::MAX));
            let (at, key) = match after {
                Some(Behind::Seen(at, key)) => (*at, key.0),
                _ => (Timestamp(i64::MIN), 0),
            };
            clause.add(
                " FROM (SELECT device AS which, at AS seen FROM device_seen
                        WHERE tenant = ? AND at >= ? AND at < ? AND (at, device) > (?, ?)) AS heard",
                [tenant.into(), from.max(at).into(), until.into(), at.into(), key.into()],
            );
        }
        Lead::Profile => {
            let profile = selection.profile.unwrap_or(ProfileId(0));
            clause.add(
                " FROM devices INDEXED BY devices_by_profile WHERE tenant = ? AND namespace = '' AND profile = ?",
                [tenant.into(), profile.into()],
            );
        }
        Lead::State(state) => clause.add(
            " FROM devices INDEXED BY devices_by_state WHERE tenant = ? AND namespace = '' AND state = ?",
            [tenant.into(), state.word().into()],
        ),
        Lead::Age | Lead::Name => clause.add(" FROM devices WHERE tenant = ? AND namespace = ''", [tenant.into()]),
    }
}

/// Most texts that one step takes into the index: devices that are let in wait for it.
const TEXTS_AT_ONCE: u64 = 500;

/// Takes names and notes that have changed into the index of texts. Returns whether there may be more.
pub(crate) fn index_texts(sql: Sql<'_>) -> Result<bool, StoreError> {
    let due = "SELECT device FROM texts_due ORDER BY device LIMIT ?";
    let due = sql.query(due, params![TEXTS_AT_ONCE], |row| row.int(0))?;
    for device in &due {
        sql.execute("DELETE FROM device_texts WHERE rowid = ?", params![*device])?;
        sql.execute(
            "INSERT INTO device_texts (rowid, text)
             SELECT device, name_key || char(10) || coalesce(label, '') FROM devices WHERE device = ?",
            params![*device],
        )?;
        sql.execute("DELETE FROM texts_due WHERE device = ?", params![*device])?;
    }
    Ok(due.len() as u64 == TEXTS_AT_ONCE)
}

/// Whether a name or a note is not in the index of texts yet. Only SQLite has one to be kept.
pub(crate) fn are_texts_due(sql: Sql<'_>) -> Result<bool, StoreError> {
    Ok(!sql.is_postgres() && sql.exists("SELECT 1 FROM texts_due LIMIT 1", params![])?)
}
