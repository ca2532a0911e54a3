//! Devices by selector: labels, state, profile, when they were heard of last, and text; page by page.
//!
//! One condition leads, over an index of its own, and the others are tested on what it finds. On SQLite it is chosen
//! by counting a little of what each would find, and a page ends where so much was looked at that its caller has waited
//! long enough; PostgreSQL has statistics for that.

use domain::{DeviceKey, DeviceState, ProfileId, TenantId, Timestamp};

use super::leads::{Lead, Span, heard, prefixed, source};
use super::words::{Clause, text_matches};
use super::{COLUMNS, DeviceRow, View, more, read_row};
use crate::StoreError;
use crate::driver::Sql;

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

/// Behind which device a page begins; which kind it is says [`Selection::order`], and of one kind the earlier is less.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// A page of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The devices. They may be fewer than asked for although there are more: see `next`.
    pub rows: Vec<DeviceRow>,
    /// Where the next page begins; `None` where there is none.
    pub next: Option<Behind>,
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
        limit: usize,
    ) -> Result<Selected, StoreError> {
        let leads = self.leads(tenant, selection)?;
        let (mut rows, mut known) = (Vec::new(), None);
        for lead in &leads {
            let end = self.end(tenant, selection, *lead, after)?;
            let found = self.led(tenant, selection, *lead, Span { after, end: end.as_ref() }, limit)?;
            let last = if found.len() > limit { found.last().map(|row| selection.behind(row)) } else { end };
            known = [known, last].into_iter().flatten().min();
            rows.extend(found);
        }
        if leads.len() > 1 {
            rows.retain(|row| known.as_ref().is_none_or(|known| selection.behind(row) <= *known));
            rows.sort_by_key(|row| selection.behind(row));
            rows.dedup_by_key(|row| row.record.key);
        }
        let next = if rows.len() > limit { Some(selection.behind(&rows[limit - 1])) } else { known };
        rows.truncate(limit);
        Ok(Selected { rows, next })
    }

    /// What one lead finds between two places, and one more than the limit, so that it is known whether there is more.
    fn led(
        &self,
        tenant: TenantId,
        selection: &Selection<'_>,
        lead: Lead<'_>,
        span: Span<'_>,
        limit: usize,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        let clause = Self::clause(self.sql, tenant, selection, lead, span);
        // What leads has this order by itself; SQLite does not see that the joined key is the same.
        let order = match (selection.order(), lead) {
            (Told::ByName, _) => "name_key",
            (Told::BySeen, Lead::Seen) => "seen, led.which",
            (Told::BySeen, _) => "seen, devices.device",
            (Told::ByAge, Lead::Label(_) | Lead::Note(_) | Lead::Text | Lead::Due) => "led.which",
            (Told::ByAge, _) => "devices.device",
        };
        let (more, held, most) = (more(self.sql), self.held_devices(), limit as u64 + 1);
        let text = format!("SELECT {COLUMNS}, {more} {} ORDER BY {order} LIMIT ?{held}", clause.text);
        self.sql.query(&text, &clause.params_and(&[most.into()]), read_row)
    }

    fn clause(
        sql: Sql<'_>,
        tenant: TenantId,
        selection: &Selection<'_>,
        lead: Lead<'_>,
        span: Span<'_>,
    ) -> Clause {
        let mut clause = Clause::default();
        let join = if sql.is_postgres() { "JOIN" } else { "CROSS JOIN" };
        match lead {
            Lead::Age | Lead::Profile | Lead::State(_) if sql.is_postgres() => clause.add("FROM devices", []),
            Lead::Age => clause.add("FROM devices INDEXED BY devices_by_age", []),
            Lead::Profile => clause.add("FROM devices INDEXED BY devices_by_profile", []),
            Lead::State(_) => clause.add("FROM devices INDEXED BY devices_by_state", []),
            Lead::Name if sql.is_postgres() => clause.add("FROM devices", []),
            Lead::Name => clause.add("FROM devices INDEXED BY devices_by_name", []),
            Lead::Label(_) | Lead::Note(_) | Lead::Text | Lead::Due | Lead::Seen => {
                clause.add("FROM (SELECT *", []);
                source(&mut clause, tenant, selection, lead, span);
                clause.add(&format!(") AS led {join} devices ON devices.device = led.which"), []);
            }
        }
        if selection.order() == Told::BySeen && !matches!(lead, Lead::Seen) {
            clause.add(" CROSS JOIN (SELECT *", []);
            heard(&mut clause, tenant, selection, Span::default());
            clause.add(") AS heard ON heard.which = devices.device", []);
        }
        clause.add(" WHERE tenant = ? AND namespace = ''", [tenant.into()]);
        span.narrow(&mut clause);
        selection.narrow(&mut clause, sql, lead);
        clause
    }
}

impl Selection<'_> {
    /// What a device has to be beside what leads.
    fn narrow(&self, clause: &mut Clause, sql: Sql<'_>, lead: Lead<'_>) {
        if let Some(profile) = self.profile {
            clause.add(" AND profile = ?", [profile.into()]);
        }
        match (lead, self.states) {
            (Lead::State(state), _) => clause.add(" AND state = ?", [state.word().into()]),
            (_, Some(states)) => {
                let places = vec!["?"; states.len()].join(", ");
                let states = states.iter().map(|state| state.word().into());
                clause.add(&format!(" AND state IN ({places})"), states);
            }
            _ => {}
        }
        for (key, value) in self.labels {
            clause.add(
                " AND EXISTS (SELECT 1 FROM device_labels AS l WHERE l.device = devices.device AND l.key = ? AND l.value = ?)",
                [key.as_str().into(), value.as_str().into()],
            );
        }
        if let Some(prefix) = self.name_prefix.filter(|prefix| !prefix.is_empty()) {
            clause.add(" AND name_key >= ? AND name_key <= ?", prefixed(prefix));
        }
        if let Some(note) = self.note {
            clause.add(" AND label = ?", [note.into()]);
        }
        if let Some(text) = self.text {
            text_matches(clause, sql, text);
        }
    }
}
