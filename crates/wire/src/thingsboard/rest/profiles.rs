//! Device profiles (section 11.3).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::EntityId;
use super::members::{Members, Unreadable};
use crate::Secret;

/// A device profile.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Its public id.
    pub id: EntityId,
    /// When it was made, in milliseconds since 1970.
    pub created_time: i64,
    /// Its tenant.
    pub tenant_id: EntityId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Kept for clients.
    pub image: Option<String>,
    /// `DEFAULT`
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Kept for clients.
    pub transport_type: String,
    /// Who may come in.
    pub provision_type: &'static str,
    /// None: there are no rule chains here.
    pub default_rule_chain_id: Option<EntityId>,
    /// None: there are no dashboards here.
    pub default_dashboard_id: Option<EntityId>,
    /// None: there are no queues here.
    pub default_queue_name: Option<String>,
    /// The identifier that devices send.
    pub provision_device_key: Option<String>,
    /// None.
    pub firmware_id: Option<EntityId>,
    /// None.
    pub software_id: Option<EntityId>,
    /// None: there are no edges here.
    pub default_edge_rule_chain_id: Option<EntityId>,
    /// None.
    pub external_id: Option<EntityId>,
    /// Rises with every save.
    pub version: u64,
    /// Whether devices for which none was named belong to it.
    pub default: bool,
    /// Everything else.
    pub profile_data: ProfileData,
}

/// The settings of a profile.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileData {
    /// As every profile has it.
    pub configuration: Value,
    /// Kept for clients.
    pub transport_configuration: Value,
    /// Who may come in, and by which secret.
    pub provision_configuration: ProvisionConfiguration,
    /// Kept for clients.
    pub alarms: Option<Value>,
}

/// Who may come in, and by which secret.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvisionConfiguration {
    /// As the profile's `provisionType`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The newest group secret, for whoever may see it.
    #[serde(serialize_with = "Secret::serialize_clear_option")]
    pub provision_device_secret: Option<Secret>,
}

/// A short form of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileInfo {
    /// Its public id.
    pub id: EntityId,
    /// Its tenant.
    pub tenant_id: EntityId,
    /// Its name.
    pub name: String,
    /// Kept for clients.
    pub image: Option<String>,
    /// None: there are no dashboards here.
    pub default_dashboard_id: Option<EntityId>,
    /// `DEFAULT`
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Kept for clients.
    pub transport_type: String,
}

/// The shortest form of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileName {
    /// Its public id.
    pub id: EntityId,
    /// Its name.
    pub name: String,
}

/// What clients say of a profile and only want back; the shape in which the registry keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Notes {
    /// The version of this shape: 1.
    pub v: u32,
    /// What the profile is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A picture, as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Over which transport its devices speak.
    pub transport_type: String,
    /// The settings of that transport.
    pub transport_configuration: Value,
    /// Rules for alarms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Value>,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes {
            v: 1,
            description: None,
            image: None,
            transport_type: "DEFAULT".to_owned(),
            transport_configuration: json!({ "type": "DEFAULT" }),
            alarms: None,
        }
    }
}

impl Notes {
    /// Reads what was kept; the defaults where nothing was.
    #[must_use]
    pub fn read(text: Option<&str>) -> Notes {
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The text that is kept.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A profile as a client sends it.
#[derive(Debug)]
pub struct ProfileRequest {
    /// The one to be changed; absent for a new one.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// `DEFAULT`
    pub kind: Option<String>,
    /// Over which transport its devices speak.
    pub transport_type: Option<String>,
    /// Who may come in.
    pub provision_type: Option<String>,
    /// The same, in the provision configuration.
    pub configured_type: Option<String>,
    /// The identifier that devices send.
    pub provision_device_key: Option<String>,
    /// The group secret.
    pub provision_device_secret: Option<Secret>,
    /// A queue.
    pub default_queue_name: Option<String>,
    /// Whether it is to be the default one.
    pub default: bool,
    /// The version that the client has seen.
    pub version: Option<i64>,
    /// Whether there are settings at all, with a transport's among them.
    pub has_data: bool,
    /// What is only kept.
    pub notes: Notes,
}

impl ProfileRequest {
    /// Reads a body. Members that are not known are overlooked.
    ///
    /// # Errors
    /// What is wrong with it; never a value of it.
    pub fn parse(body: &[u8]) -> Result<ProfileRequest, Unreadable> {
        let mut members = Members::parse(body)?;
        let kind = members.text("type")?;
        if kind.as_deref().is_some_and(|kind| !matches!(kind, "" | "DEFAULT")) {
            return Err(Unreadable("JSON parse error: `type` is not DEFAULT".to_owned()));
        }
        for (member, what) in [("defaultRuleChainId", "Rule chains"), ("defaultDashboardId", "Dashboards")] {
            members.has_none_of(member, what)?;
        }
        let mut data = members.object("profileData")?.unwrap_or_default();
        let transport = data.object("transportConfiguration")?;
        let mut provision = data.object("provisionConfiguration")?.unwrap_or_default();
        let transport_type = members.text("transportType")?;
        let has_data = transport.is_some();
        let transport = transport.map(Members::into_value);
        let notes = Notes {
            v: 1,
            description: members.text("description")?,
            image: members.text("image")?,
            transport_configuration: with_defaults(transport, transport_type.as_deref()),
            transport_type: transport_type.clone().unwrap_or_default(),
            alarms: data.take("alarms"),
        };
        Ok(ProfileRequest {
            id: members.id("id", Some("DEVICE_PROFILE"))?,
            name: members.text("name")?,
            kind,
            transport_type,
            provision_type: members.text("provisionType")?,
            configured_type: provision.text("type")?,
            provision_device_key: members.text("provisionDeviceKey")?.filter(|key| !key.is_empty()),
            provision_device_secret: provision
                .text("provisionDeviceSecret")?
                .filter(|secret| !secret.is_empty())
                .map(Secret::new),
            default_queue_name: members.text("defaultQueueName")?.filter(|name| !name.is_empty()),
            default: members.flag("default")?.unwrap_or(false),
            version: members.number("version")?,
            has_data,
            notes,
        })
    }
}

/// What ThingsBoard adds to the settings of a transport where a client leaves it out.
fn with_defaults(given: Option<Value>, transport: Option<&str>) -> Value {
    let mut settings = match transport {
        Some("MQTT") => json!({
            "deviceTelemetryTopic": "v1/devices/me/telemetry",
            "deviceAttributesTopic": "v1/devices/me/attributes",
            "deviceAttributesSubscribeTopic": "v1/devices/me/attributes",
            "transportPayloadTypeConfiguration": { "transportPayloadType": "JSON" },
            "sparkplug": false,
            "sparkplugAttributesMetricNames": null,
            "sendAckOnValidationException": false,
        }),
        Some("COAP") => json!({ "clientSettings": null }),
        _ => Value::Object(Map::new()),
    };
    if let (Value::Object(settings), Some(Value::Object(given))) = (&mut settings, given) {
        settings.extend(given);
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_keep_with_a_profile_comes_back() {
        let body = br#"{"name":"p","type":"DEFAULT","transportType":"MQTT","description":"d",
            "profileData":{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"MQTT"},
            "provisionConfiguration":{"type":"DISABLED","provisionDeviceSecret":"s"}}}"#;
        let request = ProfileRequest::parse(body).unwrap();
        assert!(request.has_data);
        assert_eq!(request.provision_device_secret.as_ref().map(Secret::expose), Some("s"));
        let kept = Notes::read(Some(&request.notes.to_text()));
        assert_eq!(kept, request.notes);
        assert_eq!(kept.transport_configuration["deviceTelemetryTopic"], "v1/devices/me/telemetry");
        assert_eq!(Notes::read(None).transport_type, "DEFAULT");
    }
}
