//! The shapes of ThingsBoard's REST interface, in the key order that a running one was seen to use
//! (thingsboard page, section 11 as 14.2 corrects it).

pub mod bulk;
pub mod credentials;
pub mod devices;
pub mod login;
pub mod members;
pub mod page;
pub mod profiles;
pub mod telemetry;

use serde::{Deserialize, Serialize};

/// The id that says "nobody", where a customer could stand.
pub const NULL_ID: &str = "13814000-1dd2-11b2-8080-808080808080";

/// An id with the sort of thing that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityId {
    /// `DEVICE`, `DEVICE_PROFILE`, `TENANT`, `CUSTOMER`, `USER`.
    #[serde(default)]
    pub entity_type: String,
    /// A UUID.
    pub id: String,
}

impl EntityId {
    /// The id of a thing of that sort.
    #[must_use]
    pub fn new(entity_type: &str, id: impl Into<String>) -> EntityId {
        EntityId { entity_type: entity_type.to_owned(), id: id.into() }
    }

    /// No customer.
    #[must_use]
    pub fn no_customer() -> EntityId {
        EntityId::new("CUSTOMER", NULL_ID)
    }
}
