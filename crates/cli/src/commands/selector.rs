//! Flags that choose devices.

use std::collections::BTreeMap;

use clap::Args;
use wire::admin::Selector;

use crate::failure::Failure;
use crate::values;

/// Which devices; all flags have to fit.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Which {
    /// Only devices of this profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Only devices in this state, such as expected, provisioned or disabled
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only devices with this label; may be said several times. Without `=`: only devices with this note
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Only devices with these labels, as a list: site=berlin,line=3
    #[arg(long, value_name = "LABELS")]
    selector: Option<String>,
    /// Only devices whose name begins so
    #[arg(long, value_name = "PREFIX")]
    name_prefix: Option<String>,
    /// Only devices with this text in their name or note
    #[arg(long)]
    text: Option<String>,
    /// Only devices that were heard of since then: a time, or a duration ago such as 24h
    #[arg(long, value_name = "TIME", value_parser = values::instant_ago)]
    seen_after: Option<String>,
    /// Only devices that were not heard of since then, though before: a time, or a duration ago such as 30d
    #[arg(long, value_name = "TIME", value_parser = values::instant_ago)]
    seen_before: Option<String>,
}

impl Which {
    /// As the API wants it.
    pub(crate) fn selector(&self) -> Selector {
        let (pairs, notes): (Vec<&String>, Vec<&String>) =
            self.labels.iter().partition(|label| label.contains('='));
        let pairs: Vec<&str> =
            pairs.into_iter().map(String::as_str).chain(self.selector.as_deref()).collect();
        Selector {
            profile: self.profile.clone(),
            state: self.state.clone(),
            labels: (!pairs.is_empty()).then(|| pairs.join(",")),
            label: notes.last().map(|note| (*note).clone()),
            name_prefix: self.name_prefix.clone(),
            text: self.text.clone(),
            seen_after: self.seen_after.clone(),
            seen_before: self.seen_before.clone(),
        }
    }
}

/// The selector as named values in an address.
pub(crate) fn query(selector: &Selector) -> [(&'static str, Option<&str>); 8] {
    [
        ("profile", selector.profile.as_deref()),
        ("state", selector.state.as_deref()),
        ("labels", selector.labels.as_deref()),
        ("label", selector.label.as_deref()),
        ("name_prefix", selector.name_prefix.as_deref()),
        ("text", selector.text.as_deref()),
        ("seen_after", selector.seen_after.as_deref()),
        ("seen_before", selector.seen_before.as_deref()),
    ]
}

/// Labels by key.
pub(crate) type Labels = BTreeMap<String, String>;

/// Notes and labels as they are given on the command line.
///
/// # Errors
/// Where there is more than one note.
pub(crate) fn note_and_labels(said: &[String]) -> Result<(Option<String>, Labels), Failure> {
    let (mut note, mut labels) = (None, Labels::new());
    for word in said {
        match word.split_once('=') {
            Some((key, value)) => drop(labels.insert(key.to_owned(), value.to_owned())),
            None if note.is_none() => note = Some(word.clone()),
            None => return Err(Failure::usage("a device has one note; labels are written KEY=VALUE")),
        }
    }
    Ok((note, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_label_is_a_pair_and_what_is_no_pair_is_the_note() {
        let which = Which {
            labels: words(&["site=berlin", "roof"]),
            selector: Some("line=3,row=b".to_owned()),
            ..Which::default()
        };
        let selector = which.selector();
        assert_eq!(selector.labels.as_deref(), Some("site=berlin,line=3,row=b"));
        assert_eq!(selector.label.as_deref(), Some("roof"));
        let (note, labels) = note_and_labels(&words(&["roof", "a=b=c"])).unwrap();
        assert_eq!(
            (note.as_deref(), labels),
            (Some("roof"), Labels::from([("a".to_owned(), "b=c".to_owned())]))
        );
        assert!(note_and_labels(&words(&["roof", "cellar"])).is_err());
    }
}
