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

/// A claim.
pub const CLAIM: &str = "v1/devices/me/claim";

/// What a device publishes to, whichever form of the topic it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceTopic {
    /// Telemetry: [`super::telemetry::parse`].
    Telemetry,
    /// Client attributes: [`super::attributes::parse`].
    Attributes,
    /// A request for attributes: [`super::attributes::AttributesRequest::parse`].
    AttributesRequest(Numbered),
    /// The device calls us: [`super::calls::parse`].
    CallRequest(Numbered),
    /// The device answers a call of ours; any JSON.
    CallResponse(Numbered),
    /// A claim: [`super::claim::Claim::parse`].
    Claim,
    /// A provision request: [`super::ProvisionRequest::parse`].
    ProvisionRequest,
}

/// The number of a request, and in which form its topic was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Numbered {
    /// The number, echoed unchanged.
    pub id: i32,
    /// The form.
    pub form: Form,
}

/// The forms of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `v1/devices/me/…`.
    Long,
    /// `v2/…`.
    Short,
    /// `v2/…/j/…`, which names JSON.
    ShortJson,
}

/// What comes before the number, in each form.
type Family = [(Form, &'static str); 3];

const fn family(long: &'static str, short: &'static str, json: &'static str) -> Family {
    [(Form::Long, long), (Form::ShortJson, json), (Form::Short, short)]
}

const ATTRIBUTES_REQUEST: Family = family("v1/devices/me/attributes/request/", "v2/a/req/", "v2/a/req/j/");
const ATTRIBUTES_RESPONSE: Family = family("v1/devices/me/attributes/response/", "v2/a/res/", "v2/a/res/j/");
const CALL_REQUEST: Family = family("v1/devices/me/rpc/request/", "v2/r/req/", "v2/r/req/j/");
const CALL_RESPONSE: Family = family("v1/devices/me/rpc/response/", "v2/r/res/", "v2/r/res/j/");
/// Where the device hears of shared attributes that have changed.
const ATTRIBUTES_UPDATE: Family = family(ATTRIBUTES, ATTRIBUTES_SHORT, ATTRIBUTES_SHORT_JSON);

impl DeviceTopic {
    /// What `topic` means; `None` for one that we do not know.
    #[must_use]
    pub fn parse(topic: &str) -> Option<Self> {
        match topic {
            TELEMETRY | TELEMETRY_SHORT | TELEMETRY_SHORT_JSON => Some(Self::Telemetry),
            ATTRIBUTES | ATTRIBUTES_SHORT | ATTRIBUTES_SHORT_JSON => Some(Self::Attributes),
            CLAIM => Some(Self::Claim),
            PROVISION_REQUEST => Some(Self::ProvisionRequest),
            _ => numbered(topic, &ATTRIBUTES_REQUEST)
                .map(Self::AttributesRequest)
                .or_else(|| numbered(topic, &CALL_REQUEST).map(Self::CallRequest))
                .or_else(|| numbered(topic, &CALL_RESPONSE).map(Self::CallResponse)),
        }
    }
}

fn numbered(topic: &str, family: &Family) -> Option<Numbered> {
    family.iter().find_map(|(form, prefix)| {
        let digits = topic.strip_prefix(prefix)?;
        let plain = digits.strip_prefix('-').unwrap_or(digits).bytes().all(|byte| byte.is_ascii_digit());
        let id = digits.parse().ok().filter(|_| plain)?;
        Some(Numbered { id, form: *form })
    })
}

/// What a device hears on a topic of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heard {
    /// The answer to its request for attributes.
    AttributesResponse(Numbered),
    /// The answer to its call.
    CallResponse(Numbered),
    /// A call of ours.
    CallRequest(Numbered),
    /// Shared attributes that have changed.
    AttributesUpdate(Form),
}

impl Heard {
    /// The topic it is heard on.
    #[must_use]
    pub fn topic(self) -> String {
        match self.number() {
            Some(id) => format!("{}{id}", self.prefix()),
            None => self.prefix().to_owned(),
        }
    }

    /// The filter by which a device subscribes to it.
    #[must_use]
    pub fn filter(self) -> String {
        let prefix = self.prefix();
        if self.number().is_some() { format!("{prefix}+") } else { prefix.to_owned() }
    }

    fn number(self) -> Option<i32> {
        match self {
            Self::AttributesResponse(it) | Self::CallResponse(it) | Self::CallRequest(it) => Some(it.id),
            Self::AttributesUpdate(_) => None,
        }
    }

    fn prefix(self) -> &'static str {
        let (family, form) = match self {
            Self::AttributesResponse(it) => (&ATTRIBUTES_RESPONSE, it.form),
            Self::CallResponse(it) => (&CALL_RESPONSE, it.form),
            Self::CallRequest(it) => (&CALL_REQUEST, it.form),
            Self::AttributesUpdate(form) => (&ATTRIBUTES_UPDATE, form),
        };
        family.iter().find(|(of, _)| *of == form).map_or("", |(_, prefix)| prefix)
    }
}

impl Form {
    /// Every form, in the order in which they are preferred.
    pub const ALL: [Form; 3] = [Form::Long, Form::Short, Form::ShortJson];
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
    fn numbered_topics_are_answered_in_the_form_in_which_they_were_asked() {
        for (asked, answered) in [
            ("v1/devices/me/attributes/request/7", "v1/devices/me/attributes/response/7"),
            ("v2/a/req/-7", "v2/a/res/-7"),
            ("v2/a/req/j/7", "v2/a/res/j/7"),
        ] {
            let Some(DeviceTopic::AttributesRequest(number)) = DeviceTopic::parse(asked) else {
                panic!("{asked}")
            };
            let heard = Heard::AttributesResponse(number);
            assert_eq!(heard.topic(), answered);
            assert!(device_may_subscribe(&heard.filter()), "{}", heard.filter());
        }
        let number = |id, form| Numbered { id, form };
        assert_eq!(
            DeviceTopic::parse("v2/r/res/j/0"),
            Some(DeviceTopic::CallResponse(number(0, Form::ShortJson)))
        );
        assert_eq!(
            DeviceTopic::parse("v1/devices/me/rpc/request/1"),
            Some(DeviceTopic::CallRequest(number(1, Form::Long)))
        );
        for form in Form::ALL {
            for heard in [Heard::CallRequest(number(0, form)), Heard::AttributesUpdate(form)] {
                assert!(device_may_subscribe(&heard.filter()), "{}", heard.filter());
            }
        }
        for unknown in ["v2/a/req/", "v2/a/req/x", "v2/a/req/+1", "v2/a/req/1/2", "v2/r/req/99999999999"] {
            assert_eq!(DeviceTopic::parse(unknown), None, "{unknown}");
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
