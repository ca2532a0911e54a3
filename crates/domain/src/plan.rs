//! What follows a decision outside of us, and the proof of it.

/// What a neighbour was made to hold for a device: kept, so that leaving can undo it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The device's name outside, chosen by the neighbour.
    pub external_id: String,
    /// What else the neighbour told, in its own words; shown to operators, never a secret.
    pub detail: Option<String>,
}
