//! What handlers take out of a request; whatever cannot be read is told in ThingsBoard's words.

use std::collections::HashMap;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use engine::Registry;
use engine::registry::{DeviceOrder, Operator, Tenant};
use wire::thingsboard::ErrorCode;
use wire::thingsboard::rest::members::uuid;

use super::MOST_BODY_BYTES;
use super::error::Wrong;

/// The body, whatever its content type says.
pub(super) struct Read(pub(super) Bytes);

/// The query.
pub(super) struct Asked(HashMap<String, String>);

/// The id in the path, in lower case.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for Read {
    type Rejection = Wrong;

    async fn from_request(request: Request, state: &S) -> Result<Self, Wrong> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Read(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let told = format!("\"Payload size exceeds the limit of {MOST_BODY_BYTES} bytes\"");
                Err(Wrong::bare(StatusCode::PAYLOAD_TOO_LARGE, told))
            }
            Err(rejection) => Err(Wrong::bad_request(rejection.body_text())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Wrong> {
        let query = Query::<HashMap<String, String>>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Asked(asked)).map_err(|no| Wrong::bad_request(no.body_text()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Wrong> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|no| Wrong::bad_request(no.body_text()))?;
        checked_id(&text).map(Id)
    }
}

/// How a listing is turned over.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) page: u64,
    pub(super) size: u64,
    pub(super) text: Option<String>,
    /// The property by which it is sorted, and whether the last ones come first.
    pub(super) sort: Option<(String, bool)>,
}

impl Asked {
    /// A parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// How the listing is to be turned over.
    ///
    /// # Errors
    /// In ThingsBoard's words.
    pub(super) fn turn(&self) -> Result<Turn, Wrong> {
        let (Some(size), Some(page)) = (self.get("pageSize"), self.get("page")) else {
            let told = r#"Parameter conditions "pageSize, page" not met for actual request parameters: "#;
            return Err(Wrong::framework(StatusCode::BAD_REQUEST, ErrorCode::BAD_REQUEST_PARAMS, told));
        };
        let (size, page) = (int("pageSize", size)?, int("page", page)?);
        let size = u64::try_from(size).ok().filter(|size| *size > 0).ok_or_else(|| {
            Wrong::bad_request(format!(
                "Incorrect page link page size '{size}'. Page size must be greater than zero."
            ))
        })?;
        let page = u64::try_from(page).map_err(|_| {
            Wrong::bad_request(format!("Incorrect page link page '{page}'. Page must be positive integer."))
        })?;
        let text = self.get("textSearch").filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Turn { page, size, text, sort: self.sort()? })
    }

    fn sort(&self) -> Result<Option<(String, bool)>, Wrong> {
        let Some(property) = self.get("sortProperty").filter(|property| !property.is_empty()) else {
            return Ok(None);
        };
        if !property.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')) {
            return Err(Wrong::bad_request("Invalid sort property"));
        }
        let descending = match self.get("sortOrder").unwrap_or("ASC") {
            order if order.eq_ignore_ascii_case("ASC") => false,
            order if order.eq_ignore_ascii_case("DESC") => true,
            order => {
                let told =
                    format!("Unsupported sort order '{order}'! Only 'ASC' or 'DESC' types are allowed.");
                return Err(Wrong::bad_request(told));
            }
        };
        Ok(Some((property.to_owned(), descending)))
    }
}

impl Turn {
    /// By what devices are sorted.
    ///
    /// # Errors
    /// For a property that no device has.
    pub(super) fn device_order(&self) -> Result<(DeviceOrder, bool), Wrong> {
        let Some((property, descending)) = &self.sort else {
            // All of them come by name, for which there is an index; what a text finds, as ThingsBoard shows it.
            let order = if self.text.is_some() { DeviceOrder::Created } else { DeviceOrder::Name };
            return Ok((order, false));
        };
        let order = match property.as_str() {
            "name" => DeviceOrder::Name,
            "type" | "deviceProfileName" => DeviceOrder::Profile,
            "label" => DeviceOrder::Label,
            "createdTime" | "id" | "customerTitle" | "active" => DeviceOrder::Created,
            other => return Err(unknown_property(other)),
        };
        Ok((order, *descending))
    }
}

/// No listing is sorted by that.
pub(super) fn unknown_property(property: &str) -> Wrong {
    Wrong::bad_request(format!("Unknown sort property '{property}'"))
}

/// The id in lower case.
///
/// # Errors
/// Where it is no UUID.
pub(super) fn checked_id(text: &str) -> Result<String, Wrong> {
    uuid(text).ok_or_else(|| Wrong::bad_request(format!("Invalid UUID string: {text}")))
}

/// The tenant that an operator works in.
///
/// # Errors
/// What the registry says.
pub(super) fn tenant(registry: &Registry, operator: &Operator) -> Result<Tenant, Wrong> {
    Ok(registry.tenant(operator, None)?)
}

fn int(name: &str, text: &str) -> Result<i32, Wrong> {
    text.parse().map_err(|_| {
        Wrong::bad_request(format!(
            "Method parameter '{name}': Failed to convert value of type 'java.lang.String' to required type \
             'int'; For input string: \"{text}\""
        ))
    })
}
