//! Every route of the operator API, in the order of the manual.

use axum::routing::{MethodRouter, delete, get, patch, post};
use engine::Registry;

use super::{
    audit, auth, backups, devices, import, leaving, operations, operators, profiles, secrets, tenants,
};

/// One route: what it is called and who may call it.
pub struct Route {
    /// The HTTP method.
    pub verb: Verb,
    /// The path below the base path, with `{name}` for what varies.
    pub path: &'static str,
    /// The right it needs.
    pub need: Need,
    pub(super) mount: fn() -> MethodRouter<Registry>,
}

/// The HTTP methods of the operator API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Makes, or does something that is not a change of fields.
    Post,
    /// Changes fields.
    Patch,
    /// Removes.
    Delete,
}

/// The right that a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Any operator; what is not the operator's own is not found.
    Tenant,
    /// An operator of the whole server.
    Server,
}

macro_rules! routes {
    ($($verb:ident $path:literal $need:ident $method:ident($handler:path);)*) => {
        /// The list from which the router is built.
        pub const ROUTES: &[Route] = &[
            $(Route { verb: Verb::$verb, path: $path, need: Need::$need, mount: || $method($handler) },)*
        ];
    };
}

routes! {
    Get    "/whoami"                    Tenant get(auth::whoami);
    Get    "/tenants"                   Tenant get(tenants::list);
    Post   "/tenants"                   Server post(tenants::create);
    Get    "/operator-tokens"           Server get(operators::list);
    Post   "/operator-tokens"           Server post(operators::create);
    Delete "/operator-tokens/{id}"      Server delete(operators::revoke);
    Get    "/profiles"                  Tenant get(profiles::list);
    Post   "/profiles"                  Tenant post(profiles::create);
    Get    "/profiles/{name}"           Tenant get(profiles::show);
    Patch  "/profiles/{name}"           Tenant patch(profiles::set);
    Get    "/devices"                   Tenant get(devices::list);
    Post   "/devices"                   Tenant post(devices::add);
    Post   "/devices:import"            Tenant post(import::import);
    Get    "/devices/{name}"            Tenant get(devices::show);
    Delete "/devices/{name}"            Tenant delete(devices::remove);
    Post   "/devices/{name}/disable"    Tenant post(devices::disable);
    Post   "/devices/{name}/enable"     Tenant post(devices::enable);
    Get    "/devices/{name}/telemetry"  Tenant get(devices::telemetry);
    Post   "/devices:decommission"      Tenant post(leaving::decommission_many);
    Post   "/devices/{name}/decommission" Tenant post(leaving::decommission);
    Post   "/devices/{name}/restore"    Tenant post(leaving::restore);
    Get    "/devices/{name}/timeline"   Tenant get(leaving::timeline);
    Post   "/devices/{name}/report"     Tenant post(leaving::report);
    Get    "/report-key"                Tenant get(leaving::report_key);
    Get    "/operations"                Tenant get(operations::list);
    Get    "/operations/{id}"           Tenant get(operations::show);
    Post   "/operations/{id}/resume"    Tenant post(operations::resume);
    Post   "/operations/{id}/unwind"    Tenant post(operations::unwind);
    Post   "/operations/{id}/steps/{step}/write-off" Tenant post(operations::write_off);
    Get    "/approvals"                 Tenant get(operations::approvals);
    Post   "/approvals/{id}/approve"    Tenant post(operations::approve);
    Post   "/approvals/{id}/reject"     Tenant post(operations::reject);
    Delete "/approvals/{id}"            Tenant delete(operations::forget);
    Get    "/neighbours"                Tenant get(operations::neighbours);
    Post   "/neighbours/{name}/test"    Server post(operations::test);
    Get    "/attempts"                  Tenant get(audit::attempts);
    Get    "/explain"                   Tenant get(audit::explain);
    Get    "/audit/head"                Server get(audit::head);
    Post   "/audit/verify"              Server post(audit::verify);
    Get    "/secrets"                   Server get(secrets::show);
    Post   "/secrets/unlock"            Server post(secrets::unlock);
    Post   "/secrets/keks"              Server post(secrets::add);
    Post   "/secrets/keks/{id}/retire"  Server post(secrets::retire);
    Post   "/secrets/rewrap"            Server post(secrets::rewrap);
    Post   "/secrets/rekey"             Server post(secrets::rekey);
    Post   "/secrets/verify"            Server post(secrets::verify);
    Post   "/secrets/reset"             Server post(secrets::reset);
    Get    "/backups"                   Server get(backups::list);
    Post   "/backups"                   Server post(backups::create);
}

impl Verb {
    /// The method as HTTP spells it.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }
}
