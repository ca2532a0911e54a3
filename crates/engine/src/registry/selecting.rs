//! Devices by selector, page by page.

use std::collections::HashMap;

use domain::{DeviceState, ProfileId, Timestamp};
use store::{Behind, DeviceRow, Selection, Told};

use super::labels::{check_label_key, check_label_value};
use super::{Device, DevicePage, Registry, RegistryError, Tenant, public_id};

/// The most devices on one page.
pub const MOST_PER_PAGE: usize = 1000;
pub(super) const USUAL_PER_PAGE: usize = 500;

/// Which devices. A part that is `None` or empty does not narrow.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// Only those of this profile.
    pub profile: Option<String>,
    /// Only those in this state: `expected`, `provisioning`, `provisioned`, `failed`, `disabled` or
    /// `decommissioning`.
    pub state: Option<String>,
    /// Only those with exactly this note.
    pub label: Option<String>,
    /// Only those with all of these labels.
    pub labels: Vec<(String, String)>,
    /// Only those whose name begins so.
    pub name_prefix: Option<String>,
    /// Only those with this text in name or note, whatever the case of the letters A to Z.
    pub text: Option<String>,
    /// Only those that were heard of then or later.
    pub seen_after: Option<Timestamp>,
    /// Only those that were heard of, and last before then.
    pub seen_before: Option<Timestamp>,
    /// Only those of these names, [`MOST_TOGETHER`](super::MOST_TOGETHER) at most: what was agreed to, whoever came in
    /// since.
    pub names: Option<Vec<String>>,
}

/// Which page of a listing.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceQuery<'a> {
    /// Which devices.
    pub selector: Option<&'a Selector>,
    /// Only those behind this cursor.
    pub after: Option<&'a str>,
    /// How many at most; [`MOST_PER_PAGE`] are never exceeded.
    pub limit: Option<usize>,
}

/// A selector whose words were looked up.
pub(super) struct Chosen<'a> {
    selector: &'a Selector,
    profile: Option<ProfileId>,
    states: Option<Vec<DeviceState>>,
}

impl Registry {
    /// A page of the tenant's devices: by name, where nothing or a prefix narrows it; those that were heard of
    /// longest ago first, where that is asked for; else in the order in which they were made. Where few fit, a page may
    /// hold fewer than its limit, even none: what says that it is the last one is that no other one is told behind it.
    ///
    /// # Errors
    /// `profile-not-found` and `value-invalid` for a selector or a cursor that names nothing.
    pub fn devices(&self, tenant: &Tenant, query: DeviceQuery<'_>) -> Result<DevicePage, RegistryError> {
        let everything = Selector::default();
        let chosen = self.chosen(tenant, query.selector.unwrap_or(&everything))?;
        let limit = query.limit.unwrap_or(USUAL_PER_PAGE).clamp(1, MOST_PER_PAGE);
        let (rows, next) = self.page(tenant, &chosen, query.after, limit)?;
        let mut profiles = HashMap::new();
        let devices: Vec<Device> = self.store.read(|view| {
            let rows = rows.iter().map(|row| self.shown(view, row.clone(), &mut profiles));
            rows.collect::<Result<_, _>>()
        })?;
        Ok(DevicePage { devices, next })
    }

    /// The next devices that a selector finds, and where the page behind them begins.
    pub(super) fn page(
        &self,
        tenant: &Tenant,
        chosen: &Chosen<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<DeviceRow>, Option<String>), RegistryError> {
        let selection = chosen.selection();
        let after = after.map(|cursor| self.behind(&selection, cursor)).transpose()?;
        let found =
            self.store.read(|view| view.select_devices(tenant.id, &selection, after.as_ref(), limit))?;
        let next = found.next.map(|behind| self.cursor(&behind)).transpose()?;
        Ok((found.rows, next))
    }

    /// Keys tell how many devices a server has, so cursors hold public ids.
    fn cursor(&self, behind: &Behind) -> Result<String, RegistryError> {
        Ok(match behind {
            Behind::Name(name) => name.clone(),
            Behind::Key(key) => public_id::public_id(self.store.keys()?, *key),
            Behind::Seen(at, key) => format!("{}/{}", at.0, public_id::public_id(self.store.keys()?, *key)),
        })
    }

    fn behind(&self, selection: &Selection<'_>, cursor: &str) -> Result<Behind, RegistryError> {
        let keys = || self.store.keys();
        let behind = match selection.order() {
            Told::ByName => Some(Behind::Name(cursor.to_owned())),
            Told::ByAge => public_id::device_of(keys()?, cursor).map(Behind::Key),
            Told::BySeen => match cursor.split_once('/') {
                Some((at, id)) => {
                    let at = at.parse().ok().map(Timestamp);
                    at.zip(public_id::device_of(keys()?, id)).map(|(at, key)| Behind::Seen(at, key))
                }
                None => None,
            },
        };
        behind.ok_or_else(|| RegistryError::invalid("cursor", "it is none that this listing gave."))
    }

    /// Looks up what a selector names.
    pub(super) fn chosen<'a>(
        &self,
        tenant: &Tenant,
        selector: &'a Selector,
    ) -> Result<Chosen<'a>, RegistryError> {
        let profile = selector.profile.as_deref().map(|name| self.profile(tenant, name)).transpose()?;
        let states = selector.state.as_deref().map(states).transpose()?;
        for (key, value) in &selector.labels {
            check_label_key(key)?;
            check_label_value(value)?;
        }
        Ok(Chosen { selector, profile: profile.map(|view| view.profile.id), states })
    }
}

impl Chosen<'_> {
    pub(super) fn selection(&self) -> Selection<'_> {
        let selector = self.selector;
        Selection {
            profile: self.profile,
            states: self.states.as_deref(),
            note: selector.label.as_deref(),
            labels: &selector.labels,
            name_prefix: selector.name_prefix.as_deref(),
            text: selector.text.as_deref().filter(|text| !text.is_empty()),
            seen_after: selector.seen_after,
            seen_before: selector.seen_before,
        }
    }

    /// Whether a device is among them as it stands.
    pub(super) fn takes(&self, row: &DeviceRow) -> bool {
        let is_named = |names: &Vec<String>| names.contains(&row.record.name);
        self.selector.names.as_ref().is_none_or(is_named) && self.fits(row)
    }

    /// Whether a device is what the selector asks for, whatever names stand beside it.
    pub(super) fn fits(&self, row: &DeviceRow) -> bool {
        let (record, wanted) = (&row.record, self.selector);
        let holds = |text: &str| {
            let text = text.to_ascii_lowercase();
            let within = |place: &str| place.to_ascii_lowercase().contains(&text);
            within(&record.name) || row.label.as_deref().is_some_and(within)
        };
        self.profile.is_none_or(|profile| profile == record.profile)
            && self.states.as_ref().is_none_or(|states| states.contains(&record.state))
            && wanted.label.as_ref().is_none_or(|note| row.label.as_ref() == Some(note))
            && wanted.labels.iter().all(|(key, value)| row.labels.get(key) == Some(value))
            && record.name.starts_with(wanted.name_prefix.as_deref().unwrap_or_default())
            && wanted.text.as_deref().is_none_or(holds)
            && wanted.seen_after.is_none_or(|then| row.seen_at.is_some_and(|at| at >= then))
            && wanted.seen_before.is_none_or(|then| row.seen_at.is_some_and(|at| at < then))
    }
}

/// The states behind a word that operators use.
fn states(word: &str) -> Result<Vec<DeviceState>, RegistryError> {
    let is_meant = |state: DeviceState| match word {
        "disabled" => matches!(state, DeviceState::Disabled { .. }),
        "decommissioned" => false,
        word => !matches!(state, DeviceState::Disabled { .. }) && state.word() == word,
    };
    let states: Vec<_> =
        DeviceState::ALL.iter().map(|(state, _)| *state).filter(|state| is_meant(*state)).collect();
    if states.is_empty() {
        return Err(RegistryError::invalid(
            "state",
            "it is one of `expected`, `provisioning`, `provisioned`, `failed`, `disabled`, `decommissioning`.",
        ));
    }
    Ok(states)
}
