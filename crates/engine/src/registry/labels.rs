//! What operators call devices by: notes, and labels of a key and a value.

use domain::name::MAX_CHARS;
use serde_json::json;
use store::{Change, DeviceRow};

use super::journal::Deed;
use super::{Device, Operator, Registry, RegistryError, Tenant};

/// The most characters of a label's key.
const MOST_KEY_CHARS: usize = 63;
/// The most labels of a device.
const MOST_LABELS: usize = 64;

/// What is to be changed of what operators say of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceChange {
    /// The note; `Some(None)` takes it away.
    pub label: Option<Option<String>>,
    /// Labels by key; `None` takes one away. Others stay.
    pub labels: Vec<(String, Option<String>)>,
}

impl DeviceChange {
    /// Whether it can be made.
    ///
    /// # Errors
    /// `value-invalid`.
    pub fn check(&self) -> Result<(), RegistryError> {
        check_label(self.label.as_ref().and_then(Option::as_deref))?;
        for (key, value) in &self.labels {
            check_label_key(key)?;
            value.as_deref().map(check_label_value).transpose()?;
        }
        Ok(())
    }

    /// The note; an empty one takes it away.
    fn note(&self) -> Option<Option<&str>> {
        self.label.as_ref().map(|note| note.as_deref().filter(|note| !note.is_empty()))
    }

    /// Whether it changes a device.
    ///
    /// # Errors
    /// `value-invalid` where it would have too many labels.
    pub(super) fn changes(&self, row: &DeviceRow) -> Result<bool, RegistryError> {
        let mut labels = row.labels.clone();
        for (key, value) in &self.labels {
            match value {
                Some(value) => labels.insert(key.clone(), value.clone()),
                None => labels.remove(key),
            };
        }
        if labels.len() > MOST_LABELS && labels.len() > row.labels.len() {
            return Err(RegistryError::invalid("labels", format!("a device has at most {MOST_LABELS}.")));
        }
        Ok(labels != row.labels || self.note().is_some_and(|note| note != row.label.as_deref()))
    }
}

impl Registry {
    /// Changes what operators say of a device.
    ///
    /// # Errors
    /// `device-not-found`, `value-invalid`.
    pub fn change_device(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
        wanted: &DeviceChange,
    ) -> Result<Device, RegistryError> {
        wanted.check()?;
        self.store.write(|change: &mut Change<'_>| {
            let row = self.existing(change, tenant, name)?;
            self.describe(change, operator, &row, wanted).map(drop)
        })?;
        self.device(tenant, name)
    }

    /// The same within a change; `false` where nothing changes.
    pub(super) fn describe(
        &self,
        change: &mut Change<'_>,
        operator: &Operator,
        row: &DeviceRow,
        wanted: &DeviceChange,
    ) -> Result<bool, RegistryError> {
        let record = &row.record;
        if !wanted.changes(row)? {
            return Ok(false);
        }
        let mut changed = serde_json::Map::new();
        for (key, value) in &wanted.labels {
            if change.set_label((record.tenant, record.key), key, value.as_deref())? {
                changed.insert(key.clone(), json!(value));
            }
        }
        let note = wanted.note().filter(|note| *note != row.label.as_deref());
        let mut detail = json!({ "name": record.name });
        match &note {
            Some(note) => {
                change.set_device_label(record.tenant, record.key, *note)?;
                detail["label"] = json!(note);
            }
            None => change.count_save(record.tenant, record.key)?,
        }
        if !changed.is_empty() {
            detail["labels"] = changed.into();
        }
        self.journal(change, operator, &Deed::on(record, "device-labelled", detail))?;
        Ok(true)
    }
}

/// A note keeps the rule for lengths, and can be shown in one line.
pub(super) fn check_label(label: Option<&str>) -> Result<(), RegistryError> {
    let fits = |label: &str| label.chars().count() <= MAX_CHARS && !label.chars().any(char::is_control);
    if label.is_none_or(fits) {
        return Ok(());
    }
    Err(RegistryError::invalid("label", "at most 255 characters, none of them a control character."))
}

/// A key can stand in a selector: letters, digits and a few marks.
pub(super) fn check_label_key(key: &str) -> Result<(), RegistryError> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if (1..=MOST_KEY_CHARS).contains(&key.len()) && key.chars().all(is_fit) {
        return Ok(());
    }
    let rule = "a label's key has 1 to 63 of the characters A to Z, a to z, 0 to 9, `.`, `_`, `-` and `/`.";
    Err(RegistryError::invalid("labels", rule))
}

/// A value can stand in a selector, in one line, before a comma.
pub(super) fn check_label_value(value: &str) -> Result<(), RegistryError> {
    let is_fit = |c: char| !c.is_control() && c != ',';
    if !value.is_empty() && value.chars().count() <= MAX_CHARS && value.chars().all(is_fit) {
        return Ok(());
    }
    let rule = "a label's value has 1 to 255 characters, none of them a comma or a control character.";
    Err(RegistryError::invalid("labels", rule))
}
