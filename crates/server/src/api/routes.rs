//! Every route of the operator API, in the order of the manual.

use axum::routing::{MethodRouter, delete, get, patch, post};
use domain::Power;
use engine::Registry;
use engine::registry::{Operator, RegistryError};

use super::openapi::{Schemas, Shape, shape_of};
use super::{
    audit, auth, backups, bulk, devices, feed, freezes, import, leaving, operations, operators, profiles,
    secrets, sign_on, tenants, traces,
};

/// One route: what it is called and who may call it.
pub struct Route {
    /// The HTTP method.
    pub verb: Verb,
    /// The path below the base path, with `{name}` for what varies.
    pub path: &'static str,
    /// What it needs of the caller.
    pub need: Need,
    pub(super) mount: fn() -> MethodRouter<Registry>,
    pub(super) shape: fn(&mut Schemas) -> Shape,
}

/// A route that is open to everyone.
pub struct Open {
    /// The HTTP method.
    pub verb: Verb,
    /// The path below the base path.
    pub path: &'static str,
    pub(super) mount: fn() -> MethodRouter<Registry>,
    pub(super) shape: fn(&mut Schemas) -> Shape,
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

/// What a route needs of whoever calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To be known.
    Own,
    /// See [`Power::Read`]; what is not the operator's own tenant's is not found.
    Read,
    /// See [`Power::See`].
    See,
    /// See [`Power::Install`].
    Install,
    /// See [`Power::Operate`].
    Operate,
    /// See [`Power::Rotate`].
    Rotate,
    /// See [`Power::Halt`].
    Halt,
    /// See [`Power::Secure`].
    Secure,
    /// See [`Power::Administer`].
    Administer,
    /// [`Power::Secure`] over the whole server.
    ServerSecure,
    /// [`Power::Administer`] over the whole server.
    Server,
}

impl Need {
    /// What the role has to allow.
    pub fn power(self) -> Power {
        match self {
            Need::Own => Power::Own,
            Need::Read => Power::Read,
            Need::See => Power::See,
            Need::Install => Power::Install,
            Need::Operate => Power::Operate,
            Need::Rotate => Power::Rotate,
            Need::Halt => Power::Halt,
            Need::Secure | Need::ServerSecure => Power::Secure,
            Need::Administer | Need::Server => Power::Administer,
        }
    }

    /// Whether it is for operators of the whole server only.
    pub fn is_for_server(self) -> bool {
        matches!(self, Need::ServerSecure | Need::Server)
    }

    /// Whether an operator has it.
    ///
    /// # Errors
    /// `role-insufficient`, `right-missing`.
    pub fn check(self, operator: &Operator) -> Result<(), RegistryError> {
        operator.require(self.power())?;
        if self.is_for_server() { operator.require_server() } else { Ok(()) }
    }
}

macro_rules! routes {
    ($($verb:ident $path:literal $need:ident $method:ident($handler:path);)*) => {
        /// The list from which the router is built, but for what is [`OPEN`].
        pub const ROUTES: &[Route] = &[
            $(Route {
                verb: Verb::$verb,
                path: $path,
                need: Need::$need,
                mount: || $method($handler),
                shape: |schemas| shape_of(&$handler, schemas),
            },)*
        ];
    };
}

routes! {
    Get    "/whoami"                      Own get(auth::whoami);
    Post   "/whoami/password"             Own post(operators::own_password);
    Get    "/tenants"                     Own get(tenants::list);
    Post   "/tenants"                     Server post(tenants::create);
    Get    "/operator-tokens"             Administer get(operators::list);
    Post   "/operator-tokens"             Administer post(operators::create);
    Delete "/operator-tokens/{id}"        Administer delete(operators::revoke);
    Get    "/operators"                   Administer get(operators::accounts);
    Post   "/operators"                   Administer post(operators::add);
    Patch  "/operators/{name}"            Administer patch(operators::set);
    Delete "/operators/{name}"            Administer delete(operators::remove);
    Get    "/profiles"                    Read get(profiles::list);
    Post   "/profiles"                    Operate post(profiles::create);
    Get    "/profiles/{name}"             Read get(profiles::show);
    Patch  "/profiles/{name}"             Rotate patch(profiles::set);
    Get    "/devices"                     See get(devices::list);
    Post   "/devices"                     Install post(devices::add);
    Post   "/devices:import"              Install post(import::import);
    Get    "/devices/{name}"              See get(devices::show);
    Patch  "/devices/{name}"              Operate patch(devices::set);
    Delete "/devices/{name}"              Operate delete(devices::remove);
    Post   "/devices/{name}/disable"      Halt post(devices::disable);
    Post   "/devices/{name}/enable"       Halt post(devices::enable);
    Get    "/devices/{name}/telemetry"    Read get(devices::telemetry);
    Post   "/devices:disable"             Halt post(bulk::disable);
    Post   "/devices:enable"              Halt post(bulk::enable);
    Post   "/devices:label"               Operate post(bulk::label);
    Post   "/devices:decommission"        Operate post(leaving::decommission_many);
    Post   "/devices/{name}/decommission" Operate post(leaving::decommission);
    Post   "/devices/{name}/restore"      Operate post(leaving::restore);
    Get    "/devices/{name}/timeline"     Read get(leaving::timeline);
    Post   "/devices/{name}/report"       Operate post(leaving::report);
    Get    "/report-key"                  Read get(leaving::report_key);
    Get    "/operations"                  Read get(operations::list);
    Get    "/operations/{id}"             Read get(operations::show);
    Post   "/operations/{id}/resume"      Operate post(operations::resume);
    Post   "/operations/{id}/unwind"      Operate post(operations::unwind);
    Post   "/operations/{id}/steps/{step}/write-off" Operate post(operations::write_off);
    Get    "/approvals"                   Read get(operations::approvals);
    Post   "/approvals/{id}/approve"      Operate post(operations::approve);
    Post   "/approvals/{id}/reject"       Operate post(operations::reject);
    Delete "/approvals/{id}"              Operate delete(operations::forget);
    Get    "/neighbours"                  Read get(operations::neighbours);
    Post   "/neighbours/{name}/test"      Server post(operations::test);
    Get    "/events"                      Read get(feed::events);
    Get    "/freezes"                     Read get(freezes::list);
    Post   "/freezes"                     Halt post(freezes::freeze);
    Delete "/freezes"                     Halt delete(freezes::thaw);
    Get    "/attempts"                    Read get(audit::attempts);
    Get    "/explain"                     Read get(audit::explain);
    Get    "/traces"                      Operate get(traces::list);
    Post   "/traces"                      Operate post(traces::begin);
    Get    "/traces/{name}"               Operate get(traces::show);
    Delete "/traces/{name}"               Operate delete(traces::end);
    Get    "/audit/head"                  ServerSecure get(audit::head);
    Post   "/audit/verify"                ServerSecure post(audit::verify);
    Get    "/secrets"                     ServerSecure get(secrets::show);
    Post   "/secrets/unlock"              ServerSecure post(secrets::unlock);
    Post   "/secrets/keks"                ServerSecure post(secrets::add);
    Post   "/secrets/keks/{id}/retire"    ServerSecure post(secrets::retire);
    Post   "/secrets/rewrap"              ServerSecure post(secrets::rewrap);
    Post   "/secrets/rekey"               ServerSecure post(secrets::rekey);
    Post   "/secrets/verify"              ServerSecure post(secrets::verify);
    Post   "/secrets/reset"               Server post(secrets::reset);
    Get    "/backups"                     Server get(backups::list);
    Post   "/backups"                     Server post(backups::create);
}

macro_rules! open {
    ($($verb:ident $path:literal $method:ident($handler:path);)*) => {
        /// What whoever signs on calls: there is nothing to show yet.
        pub const OPEN: &[Open] = &[
            $(Open {
                verb: Verb::$verb,
                path: $path,
                mount: || $method($handler),
                shape: |schemas| shape_of(&$handler, schemas),
            },)*
        ];
    };
}

open! {
    Get    "/sign-on/openid"              get(sign_on::offered);
    Post   "/sign-on/openid"              post(sign_on::sign_on);
    Post   "/sign-on/openid/device"       post(sign_on::begin_device);
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
