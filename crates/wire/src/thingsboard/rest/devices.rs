//! Devices (section 11.3).

use serde::Serialize;
use serde_json::Value;

use super::EntityId;
use super::credentials::CredentialsRequest;
use super::members::{Members, Unreadable};

/// A device.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its public id.
    pub id: EntityId,
    /// When it was made, in milliseconds since 1970.
    pub created_time: i64,
    /// Its tenant.
    pub tenant_id: EntityId,
    /// Nobody: there are no customers here.
    pub customer_id: EntityId,
    /// Its registration id.
    pub name: String,
    /// The name of its profile.
    #[serde(rename = "type")]
    pub kind: String,
    /// The operators' own note.
    pub label: Option<String>,
    /// Its profile.
    pub device_profile_id: EntityId,
    /// None.
    pub firmware_id: Option<EntityId>,
    /// None.
    pub software_id: Option<EntityId>,
    /// None.
    pub external_id: Option<EntityId>,
    /// Rises with every save.
    pub version: u64,
    /// Only in a device info.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub info: Option<Info>,
    /// What clients keep with it.
    pub additional_info: Option<Value>,
    /// As every device has it.
    pub device_data: DeviceData,
}

/// What a device info says beyond a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// There are no customers here.
    pub customer_title: Option<String>,
    /// There are no customers here.
    pub customer_is_public: bool,
    /// The name of its profile.
    pub device_profile_name: String,
    /// Whether it is connected.
    pub active: bool,
}

/// Settings that are the same for every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceData {
    configuration: OfType,
    transport_configuration: OfType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct OfType {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Default for OfType {
    fn default() -> OfType {
        OfType { kind: "DEFAULT" }
    }
}

/// `GET /api/device/types`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntitySubtype {
    /// The tenant.
    pub tenant_id: EntityId,
    /// `DEVICE`
    pub entity_type: &'static str,
    /// The name of a profile that devices belong to.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A device as a client sends it.
#[derive(Debug, Default)]
pub struct DeviceRequest {
    /// The one to be changed; absent for a new one.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The name of its profile.
    pub kind: Option<String>,
    /// The operators' own note.
    pub label: Option<String>,
    /// Its profile, which counts for more than `kind`.
    pub device_profile_id: Option<String>,
    /// What clients keep with it: an object.
    pub additional_info: Option<Value>,
    /// The version that the client has seen.
    pub version: Option<i64>,
    /// In a list of devices: what it is to hold.
    pub credentials: Option<CredentialsRequest>,
}

impl DeviceRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &[u8]) -> Result<DeviceRequest, Unreadable> {
        DeviceRequest::of(Members::parse(body)?)
    }

    /// Reads the members of an object. Those that are not known are overlooked.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of(mut members: Members) -> Result<DeviceRequest, Unreadable> {
        let additional_info = members.take("additionalInfo");
        if additional_info.as_ref().is_some_and(|info| !info.is_object()) {
            return Err(Unreadable("JSON parse error: `additionalInfo` is not an object".to_owned()));
        }
        for (member, what) in
            [("customerId", "Customers"), ("firmwareId", "Packages"), ("softwareId", "Packages")]
        {
            members.has_none_of(member, what)?;
        }
        Ok(DeviceRequest {
            id: members.id("id", Some("DEVICE"))?,
            name: members.text("name")?,
            kind: members.text("type")?,
            label: members.text("label")?,
            device_profile_id: members.id("deviceProfileId", Some("DEVICE_PROFILE"))?,
            additional_info,
            version: members.number("version")?,
            credentials: members.object("credentials")?.map(CredentialsRequest::of).transpose()?,
        })
    }

    /// Whether it says that the device speaks for others.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.additional_info.as_ref().and_then(|info| info.get("gateway")) == Some(&Value::Bool(true))
    }
}

/// `POST /api/device-with-credentials`
#[derive(Debug)]
pub struct DeviceWithCredentials {
    /// The device.
    pub device: DeviceRequest,
    /// What it is to hold.
    pub credentials: CredentialsRequest,
}

impl DeviceWithCredentials {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it, in ThingsBoard's words where a part is missing.
    pub fn parse(body: &[u8]) -> Result<DeviceWithCredentials, Unreadable> {
        let mut members = Members::parse(body)?;
        let (device, credentials) = (members.object("device")?, members.object("credentials")?);
        match (device, credentials) {
            (Some(device), Some(credentials)) => Ok(DeviceWithCredentials {
                device: DeviceRequest::of(device)?,
                credentials: CredentialsRequest::of(credentials)?,
            }),
            (device, credentials) => {
                let missing = [("credentials", credentials.is_none()), ("device", device.is_none())];
                let missing =
                    missing.iter().filter(|(_, is)| *is).map(|(name, _)| format!("{name} must not be null"));
                Err(Unreadable(format!("Validation error: {}", missing.collect::<Vec<_>>().join(", "))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_in_the_recorded_order() {
        let device = Device {
            id: EntityId::new("DEVICE", "d"),
            created_time: 1,
            tenant_id: EntityId::new("TENANT", "t"),
            customer_id: EntityId::no_customer(),
            name: "n".into(),
            kind: "default".into(),
            label: None,
            device_profile_id: EntityId::new("DEVICE_PROFILE", "p"),
            firmware_id: None,
            software_id: None,
            external_id: None,
            version: 1,
            info: None,
            additional_info: None,
            device_data: DeviceData::default(),
        };
        let written = serde_json::to_string(&device).unwrap();
        assert!(
            written.contains(r#""externalId":null,"version":1,"additionalInfo":null,"deviceData""#),
            "{written}"
        );
        let info = Info {
            customer_title: None,
            customer_is_public: false,
            device_profile_name: "default".into(),
            active: false,
        };
        let written = serde_json::to_string(&Device { info: Some(info), ..device }).unwrap();
        assert!(
            written.contains(r#""version":1,"customerTitle":null,"customerIsPublic":false,"#),
            "{written}"
        );
    }

    #[test]
    fn a_device_with_credentials_says_which_part_is_missing() {
        let said = |body: &str| DeviceWithCredentials::parse(body.as_bytes()).unwrap_err().0;
        let both = "Validation error: credentials must not be null, device must not be null";
        assert_eq!(said("{}"), both);
        assert_eq!(said(r#"{"device":{}}"#), "Validation error: credentials must not be null");
    }
}
