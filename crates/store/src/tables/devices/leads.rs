//! Which condition of a selection leads, and over which index.

use domain::{DeviceState, ProfileId, TenantId, Timestamp};

use super::View;
use super::select::{Behind, Selection, Told};
use super::words::{Clause, Value, trigrams};
use crate::StoreError;
use crate::driver::{Row, Sql};

/// How far it is counted what a condition would find. What finds less may lead in an order that is not its own.
const COUNTED: u64 = 5000;
/// How many of those that lead are looked at for one page.
const LOOKED_AT: u64 = 20_000;

/// What leads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lead<'a> {
    /// The names, in their order; or those that begin alike.
    Name,
    Age,
    Profile,
    State(DeviceState),
    Label(&'a (String, String)),
    Note(&'a str),
    Text,
    /// The devices that are not in the index of texts yet.
    Due,
    Seen,
}

/// Between which places something leads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span<'a> {
    /// Only what is behind it.
    pub(super) after: Option<&'a Behind>,
    /// Nothing that is behind it.
    pub(super) end: Option<&'a Behind>,
}

impl View<'_> {
    /// What leads; of several each finds its part.
    pub(super) fn leads<'s>(
        &self,
        tenant: TenantId,
        selection: &'s Selection<'_>,
    ) -> Result<Vec<Lead<'s>>, StoreError> {
        match (selection.order(), self.sql) {
            (Told::ByName, _) => return Ok(vec![Lead::Name]),
            (Told::BySeen, Sql::Postgres(_)) => return Ok(vec![Lead::Seen]),
            (Told::ByAge, Sql::Postgres(_)) => return Ok(vec![Lead::Age]),
            (_, Sql::Sqlite(_)) => {}
        }
        let mut candidates = selection.candidates();
        if candidates.len() == 2 && selection.is_exact() {
            return Ok(candidates.swap_remove(0));
        }
        let mut best = (vec![selection.usual()], u64::MAX);
        for leads in candidates {
            let count = self.counted(tenant, selection, &leads)?;
            let may_lead = count < COUNTED || leads.iter().all(|lead| lead.has_order(selection.order()));
            if may_lead && count < best.1 {
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
            source(&mut clause, tenant, selection, *lead, Span::default());
            let text = format!("SELECT count(*) FROM (SELECT 1 {} LIMIT {COUNTED})", clause.text);
            count += self.sql.one(&text, &clause.params_and(&[]), |row| row.unsigned(0))?;
        }
        Ok(count)
    }

    /// The place behind which nothing of what leads is looked at for this page; `None` where all of it is.
    pub(super) fn end(
        &self,
        tenant: TenantId,
        selection: &Selection<'_>,
        lead: Lead<'_>,
        after: Option<&Behind>,
    ) -> Result<Option<Behind>, StoreError> {
        let order = selection.order();
        if self.sql.is_postgres() || order == Told::ByName || !lead.has_order(order) || selection.is_exact() {
            return Ok(None);
        }
        let mut clause = Clause::default();
        source(&mut clause, tenant, selection, lead, Span { after, end: None });
        let columns = if order == Told::BySeen { "seen, which" } else { "which" };
        let text =
            format!("SELECT {columns} {} ORDER BY {columns} LIMIT 1 OFFSET {}", clause.text, LOOKED_AT - 1);
        let place = |row: &Row<'_>| match order {
            Told::BySeen => Ok(Behind::Seen(Timestamp(row.int(0)?), domain::DeviceKey(row.unsigned(1)?))),
            _ => Ok(Behind::Key(domain::DeviceKey(row.unsigned(0)?))),
        };
        self.sql.first(&text, &clause.params_and(&[]), place)
    }
}

impl Lead<'_> {
    /// Whether its index has this order.
    fn has_order(self, order: Told) -> bool {
        match order {
            Told::ByName => matches!(self, Lead::Name),
            Told::BySeen => matches!(self, Lead::Seen),
            Told::ByAge => !matches!(self, Lead::Name | Lead::Seen),
        }
    }
}

impl<'s> Selection<'s> {
    /// What may lead: all that its conditions have an index for, the likeliest first.
    fn candidates(&'s self) -> Vec<Vec<Lead<'s>>> {
        let mut candidates: Vec<Vec<Lead<'s>>> =
            self.labels.iter().map(|label| vec![Lead::Label(label)]).collect();
        candidates.extend(self.note.filter(|note| !note.is_empty()).map(|note| vec![Lead::Note(note)]));
        if self.wanted_text().is_some() {
            candidates.push(vec![Lead::Text, Lead::Due]);
        }
        candidates.extend(self.states.map(|states| states.iter().map(|state| Lead::State(*state)).collect()));
        candidates.extend(self.profile.map(|_| vec![Lead::Profile]));
        candidates.extend(self.name_prefix.map(|_| vec![Lead::Name]));
        candidates.push(vec![self.usual()]);
        candidates
    }

    /// What leads where nothing else does.
    fn usual(&self) -> Lead<'static> {
        if self.order() == Told::BySeen { Lead::Seen } else { Lead::Age }
    }

    /// What the index of texts is asked for.
    fn wanted_text(&self) -> Option<String> {
        self.text.and_then(trigrams)
    }

    /// Whether it has one condition only, whose index finds nothing else.
    fn is_exact(&self) -> bool {
        let seen = self.seen_after.is_some() || self.seen_before.is_some();
        let exact = usize::from(self.profile.is_some())
            + usize::from(self.states.is_some())
            + usize::from(seen)
            + self.labels.len();
        exact <= 1 && self.text.is_none() && self.note.is_none() && self.name_prefix.is_none()
    }
}

impl Span<'_> {
    /// Only what is between its places, of devices that stand in a statement themselves.
    pub(super) fn narrow(self, clause: &mut Clause) {
        for (place, sign) in [(self.after, ">"), (self.end, "<=")] {
            match place {
                Some(Behind::Name(name)) => {
                    clause.add(&format!(" AND name_key {sign} ?"), [name.as_str().into()]);
                }
                Some(Behind::Key(key)) => {
                    clause.add(&format!(" AND devices.device {sign} ?"), [(*key).into()]);
                }
                Some(Behind::Seen(at, key)) => {
                    clause.add(
                        &format!(" AND (seen, devices.device) {sign} (?, ?)"),
                        [(*at).into(), (*key).into()],
                    );
                }
                None => {}
            }
        }
    }

    /// The keys between its places: above the one, and at most the other.
    fn keys(self) -> [Value; 2] {
        let key = |place: Option<&Behind>, otherwise| match place {
            Some(Behind::Key(key)) => (*key).into(),
            _ => Value::Int(otherwise),
        };
        [key(self.after, 0), key(self.end, i64::MAX)]
    }
}

/// `FROM` of the keys that something finds by its index, as `which`.
pub(super) fn source(
    clause: &mut Clause,
    tenant: TenantId,
    selection: &Selection<'_>,
    lead: Lead<'_>,
    span: Span<'_>,
) {
    let (index, condition, values): (_, _, Vec<Value>) = match lead {
        Lead::Seen => return heard(clause, tenant, selection, span),
        Lead::Label((key, value)) => {
            let condition = "device_labels WHERE tenant = ? AND key = ? AND value = ?";
            ("device", condition, vec![tenant.into(), key.as_str().into(), value.as_str().into()])
        }
        Lead::Note(note) => {
            let condition = "devices INDEXED BY devices_by_note
                WHERE tenant = ? AND namespace = '' AND label <> '' AND label = ?";
            ("device", condition, vec![tenant.into(), note.into()])
        }
        Lead::Text => {
            let wanted = selection.wanted_text().unwrap_or_default();
            ("rowid", "device_texts WHERE device_texts MATCH ?", vec![wanted.as_str().into()])
        }
        Lead::Due => ("device", "texts_due WHERE TRUE", Vec::new()),
        Lead::Profile => {
            let condition =
                "devices INDEXED BY devices_by_profile WHERE tenant = ? AND namespace = '' AND profile = ?";
            ("device", condition, vec![tenant.into(), selection.profile.unwrap_or(ProfileId(0)).into()])
        }
        Lead::State(state) => {
            let condition =
                "devices INDEXED BY devices_by_state WHERE tenant = ? AND namespace = '' AND state = ?";
            ("device", condition, vec![tenant.into(), state.word().into()])
        }
        Lead::Age => {
            let condition = "devices INDEXED BY devices_by_age WHERE tenant = ? AND namespace = ''";
            ("device", condition, vec![tenant.into()])
        }
        Lead::Name => {
            let [from, until] = prefixed(selection.name_prefix.unwrap_or_default());
            let condition = "devices INDEXED BY devices_by_name
                WHERE tenant = ? AND namespace = '' AND name_key >= ? AND name_key <= ?";
            ("device", condition, vec![tenant.into(), from, until])
        }
    };
    clause.add(&format!(" FROM (SELECT {index} AS which FROM {condition}"), values);
    clause.add(&format!(" AND {index} > ? AND {index} <= ?) AS found"), span.keys());
}

/// `FROM` of the keys of devices that were heard of then, as `which`, and of when it was, as `seen`.
pub(super) fn heard(clause: &mut Clause, tenant: TenantId, selection: &Selection<'_>, span: Span<'_>) {
    let (earliest, latest) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    let place = |place: Option<&Behind>, otherwise: (Timestamp, u64)| match place {
        Some(Behind::Seen(at, key)) => (*at, key.0),
        _ => otherwise,
    };
    let (after, end) =
        (place(span.after, (earliest, 0)), place(span.end, (latest, i64::MAX.cast_unsigned())));
    let from = selection.seen_after.unwrap_or(earliest).max(after.0);
    let until = selection.seen_before.unwrap_or(latest);
    clause.add(
        " FROM (SELECT device AS which, at AS seen FROM device_seen WHERE tenant = ? AND at >= ? AND at < ?
            AND (at, device) > (?, ?) AND (at, device) <= (?, ?)) AS heard",
        [
            tenant.into(),
            from.into(),
            until.into(),
            after.0.into(),
            after.1.into(),
            end.0.into(),
            end.1.into(),
        ],
    );
}

/// The first and the last name that begin so.
pub(super) fn prefixed(prefix: &str) -> [Value; 2] {
    [prefix.into(), format!("{prefix}\u{10ffff}").as_str().into()]
}
