//! Every route of ThingsBoard's REST interface that is served.

use axum::routing::{MethodRouter, delete, get, post};
use engine::Registry;

use super::super::{Need, Verb};
use super::{attributes, bulk, calls, credentials, devices, lists, login, profiles, system, timeseries};

/// One route: what it is called and who may call it.
pub struct Route {
    /// The HTTP method.
    pub verb: Verb,
    /// The whole path, with `{id}` for what varies.
    pub path: &'static str,
    /// What the role must allow; `None` for everybody, signed on or not.
    pub need: Option<Need>,
    pub(super) mount: fn() -> MethodRouter<Registry>,
}

/// Everybody, signed on or not.
macro_rules! need {
    (Anybody) => {
        None
    };
    ($need:ident) => {
        Some(Need::$need)
    };
}

macro_rules! routes {
    ($($verb:ident $path:literal $need:ident $method:ident($handler:path);)*) => {
        /// The list from which the router is built.
        pub const ROUTES: &[Route] = &[
            $(Route { verb: Verb::$verb, path: $path, need: need!($need), mount: || $method($handler) },)*
        ];
    };
}

routes! {
    Post   "/api/auth/login"                  Anybody post(login::login);
    Post   "/api/auth/token"                  Anybody post(login::refresh);
    Post   "/api/auth/logout"                 Own post(login::logout);
    Post   "/api/auth/changePassword"         Own post(login::change_password);
    Get    "/api/auth/user"                   Own get(login::user);
    Get    "/api/system/info"                 Own get(system::info);
    Get    "/api/noauth/activate"             Anybody get(system::activate);
    Post   "/api/noauth/oauth2Clients"        Anybody post(system::oauth2_clients);
    Get    "/api/noauth/userPasswordPolicy"   Anybody get(system::password_policy);
    Get    "/api/plugins/telemetry/{entity}/{id}/keys/attributes" Read get(attributes::list_keys);
    Get    "/api/plugins/telemetry/{entity}/{id}/keys/attributes/{scope}" Read get(attributes::list_keys_of_scope);
    Get    "/api/plugins/telemetry/{entity}/{id}/values/attributes" Read get(attributes::list);
    Get    "/api/plugins/telemetry/{entity}/{id}/values/attributes/{scope}" Read get(attributes::list_scope);
    Post   "/api/plugins/telemetry/{entity}/{id}/attributes/{scope}" Operate post(attributes::save);
    Post   "/api/plugins/telemetry/{entity}/{id}/{scope}" Operate post(attributes::save);
    Delete "/api/plugins/telemetry/{entity}/{id}/{scope}" Operate delete(attributes::delete);
    Post   "/api/plugins/telemetry/{entity}/{id}" Operate post(attributes::save_of_id);
    Delete "/api/plugins/telemetry/{entity}/{id}" Operate delete(attributes::delete_of_id);
    Get    "/api/plugins/telemetry/{entity}/{id}/keys/timeseries" Read get(timeseries::list_keys);
    Get    "/api/plugins/telemetry/{entity}/{id}/values/timeseries" Read get(timeseries::read);
    Post   "/api/plugins/telemetry/{entity}/{id}/timeseries/{scope}" Operate post(timeseries::save);
    Post   "/api/plugins/telemetry/{entity}/{id}/timeseries/{scope}/{ttl}" Operate post(timeseries::save_for);
    Delete "/api/plugins/telemetry/{entity}/{id}/timeseries/delete" Operate delete(timeseries::delete);
    Post   "/api/rpc/oneway/{id}" Operate post(calls::oneway);
    Post   "/api/rpc/twoway/{id}" Operate post(calls::twoway);
    Post   "/api/plugins/rpc/oneway/{id}" Operate post(calls::old_oneway);
    Post   "/api/plugins/rpc/twoway/{id}" Operate post(calls::old_twoway);
    Post   "/api/device"                      Operate post(devices::save);
    Post   "/api/device-with-credentials"     Operate post(devices::save_with_credentials);
    Get    "/api/device/types"                Read get(devices::types);
    Post   "/api/device/credentials"          Operate post(credentials::save);
    Post   "/api/device/bulk_import"          Operate post(bulk::import);
    Get    "/api/device/info/{id}"            Read get(devices::show_info);
    Get    "/api/device/{id}"                 Read get(devices::show);
    Delete "/api/device/{id}"                 Operate delete(devices::remove);
    Get    "/api/device/{id}/credentials"     Operate get(credentials::show);
    Get    "/api/tenant/devices"              Read get(lists::devices);
    Get    "/api/tenant/device"               Read get(lists::named);
    Get    "/api/tenant/deviceInfos"          Read get(lists::infos);
    Get    "/api/deviceInfos/all"             Read get(lists::infos);
    Get    "/api/devices"                     Read get(lists::by_ids);
    Post   "/api/devices"                     Operate post(lists::make);
    Post   "/api/deviceProfile"               Operate post(profiles::save);
    Get    "/api/deviceProfile/names"         Read get(profiles::names);
    Get    "/api/deviceProfile/{id}"          Read get(profiles::show);
    Delete "/api/deviceProfile/{id}"          Operate delete(profiles::remove);
    Post   "/api/deviceProfile/{id}/default"  Operate post(profiles::make_default);
    Get    "/api/deviceProfiles"              Read get(profiles::list);
    Get    "/api/deviceProfileInfos"          Read get(profiles::infos);
    Get    "/api/deviceProfileInfo/default"   Read get(profiles::default_info);
    Get    "/api/deviceProfileInfo/{id}"      Read get(profiles::show_info);
}
