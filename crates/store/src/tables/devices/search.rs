//! Devices by page number, as ThingsBoard's clients turn pages: searched, in an order, and counted.

use domain::{DeviceKey, DeviceState, ProfileId, TenantId};

use super::{COLUMNS, DeviceRow, MORE, View, read_row};
use crate::StoreError;
use crate::driver::{Param, Sql, params};

/// Which devices of a tenant, and in which order. Those that leave are not among them.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceSearch<'a> {
    /// Only those with this text in name or label, whatever the case of the letters A to Z.
    pub text: Option<&'a str>,
    /// The name of the profile counts for the text too.
    pub in_profile_names: bool,
    /// Only those of this profile.
    pub profile: Option<ProfileId>,
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
    /// Their names: the only order for which there is an index.
    #[default]
    Name,
    /// The names of their profiles.
    Profile,
    /// Their labels.
    Label,
}

impl View<'_> {
    /// At most `limit` devices that a search finds, those behind the first `offset`.
    ///
    /// # Errors
    /// What the database says.
    pub fn search_devices(
        &self,
        tenant: TenantId,
        search: &DeviceSearch<'_>,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        let (found, params) = search.found(self.sql, tenant);
        let order = search.order();
        let sql = format!("SELECT {COLUMNS}, {MORE} {found} ORDER BY {order} LIMIT ? OFFSET ?");
        let params: Vec<Param<'_>> = params.iter().map(Value::param).collect();
        let params = [params.as_slice(), params![limit, offset]].concat();
        self.sql.query(&sql, &params, read_row)
    }

    /// How many devices a search finds.
    ///
    /// # Errors
    /// What the database says.
    pub fn count_devices(&self, tenant: TenantId, search: &DeviceSearch<'_>) -> Result<u64, StoreError> {
        if search.is_everything() {
            return self.count_all(tenant);
        }
        let (found, params) = search.found(self.sql, tenant);
        let params: Vec<Param<'_>> = params.iter().map(Value::param).collect();
        self.sql.one(&format!("SELECT count(*) {found}"), &params, |row| row.unsigned(0))
    }

    /// All devices by the index of their names, without those that leave: they have an operation that is not settled.
    fn count_all(&self, tenant: TenantId) -> Result<u64, StoreError> {
        let all = "SELECT count(*) FROM devices WHERE tenant = ? AND namespace = ''";
        let leaving = "SELECT count(*) FROM devices
                       WHERE device IN (SELECT device FROM operations
                                        WHERE phase <> 'done' OR grace_until IS NOT NULL)
                           AND tenant = ? AND namespace = '' AND state = ?";
        let all = self.sql.one(all, params![tenant], |row| row.unsigned(0))?;
        let word = DeviceState::Decommissioning.word();
        let leaving = self.sql.one(leaving, params![tenant, word], |row| row.unsigned(0))?;
        Ok(all.saturating_sub(leaving))
    }

    /// The keys of all devices that a search finds, in its order.
    ///
    /// # Errors
    /// What the database says.
    pub fn searched_keys(
        &self,
        tenant: TenantId,
        search: &DeviceSearch<'_>,
    ) -> Result<Vec<DeviceKey>, StoreError> {
        let (found, params) = search.found(self.sql, tenant);
        let params: Vec<Param<'_>> = params.iter().map(Value::param).collect();
        let sql = format!("SELECT device {found} ORDER BY {}", search.order());
        self.sql.query(&sql, &params, |row| row.unsigned(0).map(DeviceKey))
    }

    /// The profiles that devices of a tenant belong to. Walks over all of them.
    ///
    /// # Errors
    /// What the database says.
    pub fn profiles_in_use(&self, tenant: TenantId) -> Result<Vec<ProfileId>, StoreError> {
        let sql = "SELECT DISTINCT profile FROM devices WHERE tenant = ? AND namespace = ''";
        self.sql.query(sql, params![tenant], |row| row.unsigned(0).map(ProfileId))
    }
}

/// A parameter that lives as long as its statement.
enum Value {
    Tenant(TenantId),
    Profile(ProfileId),
    Text(String),
    Word(&'static str),
}

impl Value {
    fn param(&self) -> Param<'_> {
        match self {
            Value::Tenant(tenant) => Param::from(*tenant),
            Value::Profile(profile) => Param::from(*profile),
            Value::Text(text) => Param::from(text.as_str()),
            Value::Word(word) => Param::from(*word),
        }
    }
}

const PROFILE_NAME: &str = "(SELECT p.name FROM profiles p WHERE p.id = devices.profile)";

impl DeviceSearch<'_> {
    /// Whether nothing narrows it.
    fn is_everything(&self) -> bool {
        self.text.is_none() && self.profile.is_none()
    }

    /// `FROM` and `WHERE`, with what stands for their `?`.
    fn found(&self, sql: Sql<'_>, tenant: TenantId) -> (String, Vec<Value>) {
        let mut text = "FROM devices WHERE tenant = ? AND namespace = '' AND state <> ?".to_owned();
        let mut values = vec![Value::Tenant(tenant), Value::Word(DeviceState::Decommissioning.word())];
        if let Some(profile) = self.profile {
            text += " AND profile = ?";
            values.push(Value::Profile(profile));
        }
        // Nothing that is stored holds U+0000, and not every database takes it.
        if let Some(wanted) = self.text.map(|text| text.replace('\0', "\u{fffd}").to_ascii_lowercase()) {
            let place = if sql.is_postgres() { "strpos" } else { "instr" };
            let mut columns = vec!["name_key", "coalesce(label, '')"];
            columns.extend(self.in_profile_names.then_some(PROFILE_NAME));
            let any = columns.iter().map(|column| format!("{place}(lower({column}), ?) > 0"));
            text += &format!(" AND ({})", any.collect::<Vec<_>>().join(" OR "));
            values.extend(columns.iter().map(|_| Value::Text(wanted.clone())));
        }
        (text, values)
    }

    /// Keys rise with the time at which devices are made.
    fn order(&self) -> String {
        let way = if self.descending { "DESC" } else { "ASC" };
        match self.order {
            DeviceOrder::Created => format!("device {way}"),
            DeviceOrder::Name => format!("name_key {way}"),
            DeviceOrder::Profile => format!("{PROFILE_NAME} {way}, device"),
            DeviceOrder::Label => format!("coalesce(label, '') {way}, device"),
        }
    }
}
