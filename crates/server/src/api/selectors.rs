//! Which devices a call is about, and what it says of them.

use std::collections::BTreeMap;

use domain::Timestamp;
use engine::registry::{DeviceChange, RegistryError, Selector};
use wire::admin;

/// Reads a selector.
///
/// # Errors
/// `value-invalid`.
pub(super) fn asked(asked: admin::Selector) -> Result<Selector, RegistryError> {
    for (field, text) in [("name_prefix", &asked.name_prefix), ("text", &asked.text)] {
        if text.as_ref().is_some_and(String::is_empty) {
            let detail = "an empty one would find every device: leave it out.";
            return Err(RegistryError::invalid(field, detail));
        }
    }
    Ok(Selector {
        profile: asked.profile,
        state: asked.state,
        label: asked.label,
        labels: asked.labels.as_deref().map(pairs).transpose()?.unwrap_or_default(),
        name_prefix: asked.name_prefix,
        text: asked.text,
        seen_after: asked.seen_after.as_deref().map(|text| moment_asked("seen_after", text)).transpose()?,
        seen_before: asked
            .seen_before
            .as_deref()
            .map(|text| moment_asked("seen_before", text))
            .transpose()?,
        names: None,
    })
}

/// `KEY=VALUE,KEY=VALUE`. Without a pair it is refused: whoever names labels does not mean every device.
fn pairs(text: &str) -> Result<Vec<(String, String)>, RegistryError> {
    let unfit = || RegistryError::invalid("labels", "it is a list such as `site=berlin,line=3`.");
    let pair = |pair: &str| match pair.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
        None => Err(unfit()),
    };
    let pairs: Vec<_> =
        text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect::<Result<_, _>>()?;
    if pairs.is_empty() { Err(unfit()) } else { Ok(pairs) }
}

/// What is to be changed of what operators say of a device. An empty note takes it away, as `null` does.
pub(super) fn change(label: admin::Change<String>, labels: BTreeMap<String, Option<String>>) -> DeviceChange {
    let label = match label {
        admin::Change::Keep => None,
        admin::Change::Clear => Some(None),
        admin::Change::Set(note) => Some(Some(note)),
    };
    DeviceChange { label, labels: labels.into_iter().collect() }
}

/// A point in time in RFC 3339.
///
/// # Errors
/// `value-invalid`.
pub(super) fn moment_asked(field: &'static str, text: &str) -> Result<Timestamp, RegistryError> {
    let at: jiff::Timestamp = text.parse().map_err(|_| {
        let detail = "it is not a point in time as in RFC 3339, such as `2027-01-31T12:00:00Z`.";
        RegistryError::invalid(field, detail)
    })?;
    Ok(Timestamp(at.as_millisecond()))
}
