//! The MQTT topics of a device (thingsboard page, sections 4.1 and 9.1).

/// A device asks to be provisioned here. The leading slash is part of the topic.
pub const PROVISION_REQUEST: &str = "/provision/request";
/// A device is answered here.
pub const PROVISION_RESPONSE: &str = "/provision/response";
/// Telemetry.
pub const TELEMETRY: &str = "v1/devices/me/telemetry";
/// Telemetry, short form.
pub const TELEMETRY_SHORT: &str = "v2/t";
/// Telemetry, short form that names JSON.
pub const TELEMETRY_SHORT_JSON: &str = "v2/t/j";
/// Client attributes, and updates of shared ones.
pub const ATTRIBUTES: &str = "v1/devices/me/attributes";
/// Attributes, short form.
pub const ATTRIBUTES_SHORT: &str = "v2/a";
/// Attributes, short form that names JSON.
pub const ATTRIBUTES_SHORT_JSON: &str = "v2/a/j";

/// What a device publishes to, whichever form of the topic it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceTopic {
    /// Telemetry: [`super::telemetry::parse`].
    Telemetry,
    /// Client attributes: [`super::attributes::parse`].
    Attributes,
    /// A provision request: [`super::ProvisionRequest::parse`].
    ProvisionRequest,
}

impl DeviceTopic {
    /// What `topic` means; `None` for one that we do not know.
    #[must_use]
    pub fn parse(topic: &str) -> Option<Self> {
        match topic {
            TELEMETRY | TELEMETRY_SHORT | TELEMETRY_SHORT_JSON => Some(Self::Telemetry),
            ATTRIBUTES | ATTRIBUTES_SHORT | ATTRIBUTES_SHORT_JSON => Some(Self::Attributes),
            PROVISION_REQUEST => Some(Self::ProvisionRequest),
            _ => None,
        }
    }
}

/// Every filter that a device may subscribe to (section 9.1, "Subscriptions"), JSON forms only.
const DEVICE_FILTERS: &[&str] = &[
    ATTRIBUTES,
    "v1/devices/me/attributes/response/+",
    "v1/devices/me/rpc/request/+",
    "v1/devices/me/rpc/response/+",
    ATTRIBUTES_SHORT,
    ATTRIBUTES_SHORT_JSON,
    "v2/a/res/+",
    "v2/a/res/j/+",
    "v2/r/req/+",
    "v2/r/req/j/+",
    "v2/r/res/+",
    "v2/r/res/j/+",
    "v1/gateway/attributes",
    "v1/gateway/attributes/response",
    "v1/gateway/rpc",
    "v2/fw/response/+/chunk/+",
    "v2/fw/error",
    "v2/sw/response/+/chunk/+",
    "v2/sw/error",
];

/// Whether a device's session may subscribe to exactly this filter. Others are refused in the SUBACK, with
/// 0x80 before MQTT 5.0 and 0x8F in it.
#[must_use]
pub fn device_may_subscribe(filter: &str) -> bool {
    DEVICE_FILTERS.contains(&filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_topic_means_the_same() {
        for topic in ["v1/devices/me/telemetry", "v2/t", "v2/t/j"] {
            assert_eq!(DeviceTopic::parse(topic), Some(DeviceTopic::Telemetry));
        }
        for topic in ["v1/devices/me/attributes", "v2/a", "v2/a/j"] {
            assert_eq!(DeviceTopic::parse(topic), Some(DeviceTopic::Attributes));
        }
        assert_eq!(DeviceTopic::parse("/provision/request"), Some(DeviceTopic::ProvisionRequest));
        for topic in ["provision/request", "v1/devices/me/telemetry/", "V2/t", ""] {
            assert_eq!(DeviceTopic::parse(topic), None);
        }
    }

    #[test]
    fn a_device_subscribes_to_the_listed_filters_and_to_no_other() {
        for filter in ["v1/devices/me/attributes", "v1/devices/me/rpc/request/+", "v2/fw/response/+/chunk/+"]
        {
            assert!(device_may_subscribe(filter), "{filter}");
        }
        for filter in
            ["#", "+", "v1/devices/me/#", "/provision/response", "v2/fw/response/+", "v1/devices/+/rpc"]
        {
            assert!(!device_may_subscribe(filter), "{filter}");
        }
    }
}
