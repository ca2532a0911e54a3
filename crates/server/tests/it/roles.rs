//! Who may what: each role at each route, as the table in the manual says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::fmt::Write as _;

use axum::http::StatusCode;
use domain::{Role, Secret, Strategy};
use engine::registry::{NewDevice, NewOperatorToken, NewProfile, Operator, Tenant};
use serde_json::{Value, json};
use server::api::thingsboard_rest;
use wire::admin::BASE_PATH;

use crate::thingsboard_rest::{Answer, House};

const MANUAL: &str = include_str!("../../../../docs/guides/operators.md");

/// The first line of the table.
const HEAD: &str = "| Call | viewer | installer | operator | security | admin | over |";

/// A route of either list: how it is called, and whether it is for the whole server only.
struct Called {
    verb: &'static str,
    path: String,
    over: &'static str,
}

fn all_routes() -> Vec<Called> {
    let over = |server: bool| if server { "server" } else { "tenant" };
    let ours = server::api::ROUTES.iter().map(|route| Called {
        verb: route.verb.word(),
        path: format!("{BASE_PATH}{}", route.path),
        over: over(route.need.is_for_server()),
    });
    let theirs = thingsboard_rest::ROUTES.iter().filter_map(|route| {
        let need = route.need?;
        Some(Called {
            verb: route.verb.word(),
            path: route.path.to_owned(),
            over: over(need.is_for_server()),
        })
    });
    ours.chain(theirs).collect()
}

fn token(house: &House, role: Role, tenant: Option<&str>) -> Secret {
    let wanted = NewOperatorToken { role, tenant, label: "", life_ms: None };
    house.registry.create_operator_token(&Operator::server("test"), wanted).unwrap().0
}

/// Calls a route with a body that is good for nothing: what is asked is only who may come so far.
async fn call(house: &House, route: &Called, token: &Secret) -> Answer {
    let path = route.path.replace("{name}", "nobody").replace("{step}", "1");
    let path = path.split('/').map(|part| if part.starts_with('{') { "999" } else { part });
    let path = path.collect::<Vec<_>>().join("/");
    let bearer = format!("Bearer {}", token.expose());
    let body = if route.verb == "GET" { "" } else { "garbage" };
    house.send(route.verb, &path, &[("authorization", &bearer)], body).await
}

fn is_refused(answer: &Answer) -> bool {
    assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
    answer.status == StatusCode::FORBIDDEN
}

#[tokio::test]
async fn each_role_may_at_each_route_what_the_manual_says() {
    let mut table = format!("{HEAD}\n|---|---|---|---|---|---|---|\n");
    // What one role does must not change what another one finds.
    let houses: Vec<_> = Role::ALL.iter().map(|role| (House::new(), *role)).collect();
    let holders: Vec<_> = houses
        .iter()
        .map(|(house, role)| (house, token(house, *role, None), token(house, *role, Some("default"))))
        .collect();
    for route in all_routes() {
        write!(table, "| `{} {}` |", route.verb, route.path).unwrap();
        for (house, server, tenant) in &holders {
            let refused = is_refused(&call(house, &route, server).await);
            table += if refused { " – |" } else { " yes |" };
            let refused_in_tenant = is_refused(&call(house, &route, tenant).await);
            let told = format!("{} {}", route.verb, route.path);
            assert_eq!(refused_in_tenant, refused || route.over == "server", "{told}");
        }
        writeln!(table, " {} |", route.over).unwrap();
    }
    let written: String = MANUAL
        .lines()
        .skip_while(|line| *line != HEAD)
        .take_while(|line| line.starts_with('|'))
        .fold(String::new(), |table, line| table + line + "\n");
    assert!(written == table, "docs/guides/operators.md has another table than this:\n{table}");
}

fn furnished() -> (House, Tenant) {
    let house = House::new();
    let server = Operator::server("test");
    let tenant = house.registry.tenant(&server, None).unwrap();
    let profile =
        NewProfile { name: "p".to_owned(), strategy: Strategy::CheckPreProvisioned, ..NewProfile::default() };
    house.registry.create_profile(&server, &tenant, profile).unwrap();
    let other =
        NewDevice { name: "others".to_owned(), profile: "p".to_owned(), label: None, labels: Vec::new() };
    house.registry.add_device(&server, &tenant, &other).unwrap();
    (house, tenant)
}

#[tokio::test]
async fn an_installer_announces_devices_and_sees_those_and_no_other_one() {
    let (house, _) = furnished();
    let (one, two) = (house.log_in("installer").await.0, token(&house, Role::Installer, Some("default")));
    let one = format!("Bearer {one}");
    let two = format!("Bearer {}", two.expose());
    let devices = format!("{BASE_PATH}/devices");
    let add = |name: &str| json!({ "name": name, "profile": "p" }).to_string();
    let auth = |bearer: &str| [("authorization", bearer.to_owned())];
    let send = async |verb: &str, path: &str, bearer: &str, body: String| {
        let headers = auth(bearer);
        house.send(verb, path, &[(headers[0].0, &headers[0].1)], body).await
    };
    assert_eq!(send("POST", &devices, &one, add("mine")).await.status, 201);
    let imported =
        send("POST", &format!("{devices}:import"), &one, "name,type\nmine2,p\nothers,p\n".to_owned()).await;
    let summary: Value = serde_json::from_str(imported.text.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["created"], &summary["errors"]), (&json!(1), &json!(1)), "{}", imported.text);
    let names = async |bearer: &str, query: &str| -> Vec<String> {
        let page = send("GET", &format!("{devices}{query}"), bearer, String::new()).await.json();
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&one, "").await, ["mine", "mine2"]);
    assert_eq!(names(&one, "?limit=1").await, ["mine"]);
    assert_eq!(names(&one, "?cursor=mine").await, ["mine2"]);
    assert!(names(&two, "").await.is_empty());
    for (bearer, name, status) in [(&one, "mine", 200), (&one, "others", 404), (&two, "mine", 404)] {
        let path = format!("{devices}/{name}");
        assert_eq!(send("GET", &path, bearer, String::new()).await.status, status, "{name}");
    }
    assert_eq!(send("POST", &devices, &two, add("mine")).await.json()["code"], "device-exists");
    assert_eq!(send("DELETE", &format!("{devices}/mine"), &one, String::new()).await.status, 403);
    // Whoever may read sees them all, and who announced what is in the record.
    let viewer = format!("Bearer {}", house.log_in("viewer").await.0);
    assert_eq!(names(&viewer, "").await, ["mine", "mine2", "others"]);
}
