//! Devices by page number, as ThingsBoard's clients turn pages: searched, in an order, and counted.

use domain::{DeviceKey, DeviceState, ProfileId, TenantId};

use super::words::{Clause, text_stands, trigrams};
use super::{COLUMNS, DeviceRow, View, more, read_row};
use crate::StoreError;
use crate::driver::{Sql, params};

/// Which devices of a tenant, and in which order. Those that leave are not among them.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceSearch<'a> {
    /// Only those with this text in name or label, whatever the case of the letters A to Z.
    pub text: Option<&'a str>,
    /// The name of the profile counts for the text too.
    pub in_profile_names: bool,
    /// Only those of this profile.
    pub profile: Option<ProfileId>,
    /// Only these; or, with `false`, only others.
    pub among: Option<(&'a [DeviceKey], bool)>,
    /// By what they are sorted.
    pub order: DeviceOrder,
    /// The last ones first.
    pub descending: bool,
}

/// By what devices are sorted; equal ones by when they were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceOrder {
    /// When they were made.
    Created,
    /// Their names.
    #[default]
    Name,
    /// The names of their profiles.
    Profile,
    /// Their labels; those without one come before all others.
    Label,
}

/// A page of what a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched {
    /// The devices.
    pub rows: Vec<DeviceRow>,
    /// How many there are on all pages; of a text that more than [`COUNTED`] devices behind the page hold, at least so
    /// many.
    pub total: u64,
}

/// How many devices are counted that hold a text, behind those of the page.
const COUNTED: u64 = 5000;
/// A text that more devices than this may hold is looked for along the order, not in the index.
const FEW: u64 = 20_000;
const LEAVING: DeviceState = DeviceState::Decommissioning;
const PROFILE_NAME: &str = "(SELECT p.name FROM profiles p WHERE p.id = devices.profile)";

impl View<'_> {
    /// A page of at most `limit` devices that a search finds, those behind the first `offset`.
    ///
    /// # Errors
    /// What the database says.
    pub fn searched(
        &self,
        tenant: TenantId,
        search: &DeviceSearch<'_>,
        offset: u64,
        limit: u64,
    ) -> Result<Searched, StoreError> {
        let search = &search.settled();
        let plan = self.plan(tenant, search)?;
        let behind = offset.saturating_add(limit);
        let total = self.total(tenant, search, &plan, behind)?;
        if offset >= total {
            return Ok(Searched { rows: Vec::new(), total });
        }
        let few = matches!(search.among, Some((_, true)));
        let many =
            !few && (search.text.is_none() || (plan.crowded && total >= behind.saturating_add(COUNTED)));
        let rows = match (self.sql, search.order) {
            (_, DeviceOrder::Profile) if many => {
                self.profile_by_profile(tenant, search, &plan, offset, limit)?
            }
            (Sql::Sqlite(_), DeviceOrder::Label) if many && plan.crowded => {
                self.with_label_and_without(tenant, search, &plan, (offset, limit), total)?
            }
            _ => self.page(tenant, search, &plan, (offset, limit), total)?,
        };
        Ok(Searched { rows, total })
    }

    /// A page in the order of labels, without sorting all devices: those without one are equal, and the others have
    /// an index.
    fn with_label_and_without(
        &self,
        tenant: TenantId,
        search: &DeviceSearch<'_>,
        plan: &Plan,
        (offset, limit): (u64, u64),
        total: u64,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        let parts = [search.descending, !search.descending];
        let of = |labelled| Plan { labelled: Some(labelled), ..plan.clone() };
        let there = |labelled: &bool, behind: Option<u64>| match (search.text, labelled, behind) {
            // Whether nobody is without one is seen at once by counting the others.
            (None, false, _) => Ok(total.saturating_sub(self.at_most(tenant, search, &of(true), total)?)),
            (_, _, None) => Ok(u64::MAX),
            (_, labelled, Some(behind)) => self.at_most(tenant, search, &of(*labelled), behind),
        };
        let page = |labelled: &bool, at, there| self.page(tenant, search, &of(*labelled), at, there);
        part_by_part(&parts, (offset, limit), there, page)
    }

    /// A page in the order of profiles, without sorting all devices: the devices of each profile are behind one
    /// another already.
    fn profile_by_profile(
        &self,
        tenant: TenantId,
        search: &DeviceSearch<'_>,
        plan: &Plan,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        let sql = format!("SELECT id FROM profiles WHERE tenant = ? ORDER BY name {}", search.way());
        let profiles = self.sql.query(&sql, params![tenant], |row| row.unsigned(0).map(ProfileId))?;
        let within = |profile: &ProfileId| DeviceSearch { profile: Some(*profile), ..*search }.settled();
        let of = |profile: &ProfileId| {
            let leaving = match plan.leaving {
                0 => 0,
                _ => self.count(tenant, Some(*profile), Some(LEAVING))?,
            };
            Ok::<_, StoreError>(Plan { leaving, ..plan.clone() })
        };
        let there = |profile: &ProfileId, behind: Option<u64>| match behind {
            // How many there are matters only where some are left out.
            None => Ok(u64::MAX),
            Some(behind) => self.total(tenant, &within(profile), &of(profile)?, behind),
        };
        let page =
            |profile: &ProfileId, at, there| self.page(tenant, &within(profile), &of(profile)?, at, there);
        part_by_part(&profiles, (offset, limit), there, page)
    }

    /// At most `limit` devices behind the first `offset` of `total`.
    fn page(
        &self,
        tenant: TenantId,
        search: &DeviceSearch<'_>,
        plan: &Plan,
        (offset, limit): (u64, u64),
        total: u64,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        // The way from the other end may be shorter, where it is known how long it is.
        let (mut asked, mut skipped, count) = (*search, offset, limit.min(total - offset));
        let by_age = plan.labelled == Some(false);
        let unique = by_age || matches!(search.order, DeviceOrder::Created | DeviceOrder::Name);
        let turned = unique && search.text.is_none() && offset > total / 2;
        if turned {
            (asked.descending, skipped) = (!asked.descending, total - offset - count);
        }
        let plan = &Plan { turned, ..plan.clone() };
        let (more, order) = (more(self.sql), asked.order(plan));
        let mut clause = Clause::default();
        clause.add(&format!("SELECT {COLUMNS}, {more} FROM ("), []);
        self.keys(&mut clause, tenant, &asked, plan);
        clause.add(&format!(" ORDER BY {order} LIMIT ? OFFSET ?) AS page"), [count.into(), skipped.into()]);
        clause.add(&format!(" JOIN devices ON devices.device = page.which ORDER BY {order}"), []);
        let mut rows = self.sql.query(&clause.text, &clause.params_and(&[]), read_row)?;
        if turned {
            rows.reverse();
        }
        Ok(rows)
    }

    /// The profiles that devices of a tenant belong to.
    ///
    /// # Errors
    /// What the database says.
    pub fn profiles_in_use(&self, tenant: TenantId) -> Result<Vec<ProfileId>, StoreError> {
        let sql = match self.sql {
            Sql::Sqlite(_) => "SELECT DISTINCT profile FROM device_counts WHERE tenant = ? AND devices > 0",
            Sql::Postgres(_) => "SELECT DISTINCT profile FROM devices WHERE tenant = ? AND namespace = ''",
        };
        self.sql.query(sql, params![tenant], |row| row.unsigned(0).map(ProfileId))
    }

    fn plan(&self, tenant: TenantId, search: &DeviceSearch<'_>) -> Result<Plan, StoreError> {
        let mut plan =
            Plan { leaving: self.count(tenant, search.profile, Some(LEAVING))?, ..Plan::default() };
        let Some(text) = search.text else {
            plan.crowded = match search.profile {
                Some(_) => self.count(tenant, search.profile, None)? > FEW,
                None => true,
            };
            return Ok(plan);
        };
        if search.in_profile_names {
            plan.profiles = self.profiles_with(tenant, text)?;
        }
        plan.trigrams = trigrams(text);
        plan.crowded = match (self.sql, &plan.trigrams) {
            (Sql::Postgres(_), _) | (_, None) => true,
            (Sql::Sqlite(_), Some(trigrams)) => {
                let few = format!(
                    "SELECT count(*) FROM (SELECT 1 FROM device_texts WHERE device_texts MATCH ? LIMIT {FEW})"
                );
                let mut found = self.sql.one(&few, params![trigrams], |row| row.unsigned(0))?;
                for profile in &plan.profiles {
                    found += self.count(tenant, Some(*profile), None)?;
                }
                found >= FEW
            }
        };
        Ok(plan)
    }

    fn total(
        &self,
        tenant: TenantId,
        search: &DeviceSearch<'_>,
        plan: &Plan,
        behind: u64,
    ) -> Result<u64, StoreError> {
        let all = |search: &DeviceSearch<'_>| self.at_most(tenant, search, plan, u64::MAX);
        let others = match search.among {
            Some((_, true)) => return all(search),
            Some((keys, false)) if search.text.is_none() => {
                all(&DeviceSearch { among: Some((keys, true)), ..*search })?
            }
            _ => 0,
        };
        if search.text.is_none() {
            let known = self.count(tenant, search.profile, None)?;
            return Ok(known.saturating_sub(plan.leaving).saturating_sub(others));
        }
        self.at_most(tenant, search, plan, behind.saturating_add(COUNTED))
    }

    /// How many a search finds, or `most` where they are more.
    fn at_most(
        &self,
        tenant: TenantId,
        search: &DeviceSearch<'_>,
        plan: &Plan,
        most: u64,
    ) -> Result<u64, StoreError> {
        let mut clause = Clause::default();
        clause.add("SELECT count(*) FROM (", []);
        self.keys(&mut clause, tenant, search, plan);
        let most = most.min(i64::MAX.cast_unsigned());
        clause.add(" LIMIT ?) AS found", [most.into()]);
        self.sql.one(&clause.text, &clause.params_and(&[]), |row| row.unsigned(0))
    }

    /// How many devices a tenant has, of a profile, in a state; those that leave too.
    fn count(
        &self,
        tenant: TenantId,
        profile: Option<ProfileId>,
        state: Option<DeviceState>,
    ) -> Result<u64, StoreError> {
        let mut clause = Clause::default();
        let counts = match self.sql {
            Sql::Sqlite(_) => "SELECT coalesce(sum(devices), 0) FROM device_counts WHERE tenant = ?",
            Sql::Postgres(_) => "SELECT count(*) FROM devices WHERE tenant = ? AND namespace = ''",
        };
        clause.add(counts, [tenant.into()]);
        if let Some(profile) = profile {
            clause.add(" AND profile = ?", [profile.into()]);
        }
        if let Some(state) = state {
            clause.add(" AND state = ?", [state.word().into()]);
        }
        self.sql.one(&clause.text, &clause.params_and(&[]), |row| row.unsigned(0))
    }

    /// The profiles with a text in their names.
    fn profiles_with(&self, tenant: TenantId, text: &str) -> Result<Vec<ProfileId>, StoreError> {
        let place = if self.sql.is_postgres() { "strpos" } else { "instr" };
        let wanted = text.replace('\0', "\u{fffd}").to_ascii_lowercase();
        let sql = format!("SELECT id FROM profiles WHERE tenant = ? AND {place}(lower(name), ?) > 0");
        self.sql.query(&sql, params![tenant, &wanted], |row| row.unsigned(0).map(ProfileId))
    }

    /// `SELECT` of the keys of all that a search finds, as `which`, without an order.
    fn keys(&self, clause: &mut Clause, tenant: TenantId, search: &DeviceSearch<'_>, plan: &Plan) {
        clause.add("SELECT devices.device AS which FROM ", []);
        self.source(clause, tenant, search, plan);
        clause.add(" WHERE tenant = ? AND namespace = ''", [tenant.into()]);
        if let Some(profile) = search.profile {
            clause.add(" AND profile = ?", [profile.into()]);
        }
        self.among(clause, search);
        match plan.labelled {
            None => {}
            Some(true) => clause.add(" AND label <> ''", []),
            Some(false) => clause.add(" AND coalesce(label, '') = ''", []),
        }
        if plan.leaving > 0 {
            self.staying(clause, tenant);
        }
        if let Some(text) = search.text {
            clause.add(" AND (", []);
            text_stands(clause, self.sql, text);
            for profile in &plan.profiles {
                clause.add(" OR profile = ?", [(*profile).into()]);
            }
            clause.add(")", []);
        }
    }

    /// What the devices are looked for in.
    fn source(&self, clause: &mut Clause, tenant: TenantId, search: &DeviceSearch<'_>, plan: &Plan) {
        match (self.sql, search.among, &plan.trigrams) {
            (Sql::Postgres(_), ..) => clause.add("devices", []),
            (Sql::Sqlite(_), Some((keys, true)), _) => clause.add(
                "json_each(?) AS these CROSS JOIN devices ON devices.device = these.value",
                [listed(keys).as_str().into()],
            ),
            (Sql::Sqlite(_), _, Some(trigrams)) if !plan.crowded => {
                clause.add(
                    "(SELECT rowid AS found FROM device_texts WHERE device_texts MATCH ?
                      UNION SELECT device FROM texts_due",
                    [trigrams.as_str().into()],
                );
                for profile in &plan.profiles {
                    clause.add(
                        " UNION SELECT device FROM devices INDEXED BY devices_by_profile
                          WHERE tenant = ? AND namespace = '' AND profile = ?",
                        [tenant.into(), (*profile).into()],
                    );
                }
                clause.add(") AS texts CROSS JOIN devices ON devices.device = texts.found", []);
            }
            (Sql::Sqlite(_), ..) => clause.add(&format!("devices INDEXED BY {}", search.index(plan)), []),
        }
    }

    /// Only these, or only others. On SQLite these are where the devices are looked for.
    fn among(&self, clause: &mut Clause, search: &DeviceSearch<'_>) {
        let Some((keys, wanted)) = search.among else { return };
        let condition = match (self.sql, wanted) {
            (Sql::Sqlite(_), true) => return,
            (Sql::Sqlite(_), false) => "devices.device NOT IN (SELECT value FROM json_each(?))",
            (Sql::Postgres(_), true) => {
                "devices.device IN (SELECT k::bigint FROM json_array_elements_text(?::text::json) AS k)"
            }
            (Sql::Postgres(_), false) => {
                "NOT EXISTS (SELECT 1 FROM json_array_elements_text(?::text::json) AS k
                             WHERE k::bigint = devices.device)"
            }
        };
        clause.add(&format!(" AND {condition}"), [listed(keys).as_str().into()]);
    }

    /// Only those that do not leave. Those are few, and found by an index; the state of each device is not in it.
    fn staying(&self, clause: &mut Clause, tenant: TenantId) {
        // PostgreSQL looks through a set that it cannot hash once for each device, but joins against it once.
        let (way, which) = match self.sql {
            Sql::Sqlite(_) => ("devices.device NOT IN (SELECT d.device", ""),
            Sql::Postgres(_) => ("NOT EXISTS (SELECT 1", "d.device = devices.device AND "),
        };
        let sql = format!(
            " AND {way} FROM devices AS d WHERE {which}d.tenant = ? AND d.namespace = '' AND d.state = ?)"
        );
        clause.add(&sql, [tenant.into(), LEAVING.word().into()]);
    }
}

/// A page over parts that are behind one another. `there` says how many a part has: exactly, or, where it is told how
/// far anybody looks, at most so many; `page` gives its piece.
fn part_by_part<P>(
    parts: &[P],
    (offset, limit): (u64, u64),
    there: impl Fn(&P, Option<u64>) -> Result<u64, StoreError>,
    page: impl Fn(&P, (u64, u64), u64) -> Result<Vec<DeviceRow>, StoreError>,
) -> Result<Vec<DeviceRow>, StoreError> {
    let (mut rows, mut skip) = (Vec::new(), offset);
    for part in parts {
        let left = limit.saturating_sub(rows.len() as u64);
        if left == 0 {
            break;
        }
        let there = there(part, (skip > 0).then(|| skip.saturating_add(left)))?;
        if skip >= there {
            skip -= there;
            continue;
        }
        rows.extend(page(part, (skip, left), there)?);
        skip = 0;
    }
    Ok(rows)
}

/// Keys as a JSON array, which both databases can read as one parameter.
fn listed(keys: &[DeviceKey]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| key.0.to_string()).collect();
    format!("[{}]", keys.join(","))
}

/// How a search goes about it.
#[derive(Clone, Debug, Default)]
struct Plan {
    /// How many of the devices in question leave.
    leaving: u64,
    /// The profiles that have the text in their names.
    profiles: Vec<ProfileId>,
    /// What the index of texts is asked for.
    trigrams: Option<String>,
    /// Whether it is about those with a label alone, or those without.
    labelled: Option<bool>,
    /// Whether the page is looked for from the other end.
    turned: bool,
    /// Too many to be gathered before they are sorted: it walks along an index that has the order.
    crowded: bool,
}

impl DeviceSearch<'_> {
    /// The index to walk along.
    fn index(&self, plan: &Plan) -> &'static str {
        match (self.profile, self.order) {
            _ if plan.labelled == Some(true) => "devices_by_note",
            (None, _) if plan.labelled == Some(false) => "devices_by_age",
            (Some(_), DeviceOrder::Name) if plan.crowded => "devices_by_name",
            (Some(_), _) => "devices_by_profile",
            (None, DeviceOrder::Created) => "devices_by_age",
            (None, _) => "devices_by_name",
        }
    }

    /// The same with another order where that comes to the same: all have one profile.
    fn settled(&self) -> Self {
        match (self.order, self.profile) {
            (DeviceOrder::Profile, Some(_)) => {
                DeviceSearch { order: DeviceOrder::Created, descending: false, ..*self }
            }
            _ => *self,
        }
    }

    fn way(&self) -> &'static str {
        if self.descending { "DESC" } else { "ASC" }
    }

    /// Keys rise with the time at which devices are made.
    fn order(&self, plan: &Plan) -> String {
        let way = self.way();
        match self.order {
            DeviceOrder::Label if plan.labelled == Some(true) => format!("label {way}, devices.device"),
            // They are equal, so the order does not go the other way.
            DeviceOrder::Label if plan.labelled == Some(false) => {
                format!("devices.device {}", if plan.turned { "DESC" } else { "ASC" })
            }
            DeviceOrder::Created => format!("devices.device {way}"),
            DeviceOrder::Name => format!("name_key {way}"),
            DeviceOrder::Profile => format!("{PROFILE_NAME} {way}, devices.device"),
            DeviceOrder::Label => format!("coalesce(label, '') {way}, devices.device"),
        }
    }
}
