//! Every route of ThingsBoard's REST interface that is served.

use axum::routing::{MethodRouter, get, post};
use engine::Registry;

use super::super::{Need, Verb};
use super::{login, system};

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
    Get    "/api/auth/user"                   Own get(login::user);
    Get    "/api/system/info"                 Own get(system::info);
    Get    "/api/noauth/activate"             Anybody get(system::activate);
    Post   "/api/noauth/oauth2Clients"        Anybody post(system::oauth2_clients);
    Get    "/api/noauth/userPasswordPolicy"   Anybody get(system::password_policy);
}
