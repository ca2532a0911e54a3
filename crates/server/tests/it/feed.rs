//! Streams of events: who may hear them, and for how long.

use axum::response::Response;
use engine::registry::Operator;
use http_body_util::BodyExt as _;

use crate::operator_api::House;

const ACCEPT: [(&str, &str); 1] = [("accept", "text/event-stream")];

async fn stream(house: &House, token: &str) -> Response {
    house.begin("GET", "/events", Some(token), &ACCEPT, "").await
}

/// What else a stream tells until it ends.
async fn rest(stream: Response) -> String {
    String::from_utf8(stream.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_soon_after_its_token() {
    let house = House::new();
    let admin = Operator::server("test");
    let (revoked, expired) = (house.token(None, None), house.token(Some("acme"), Some(60_000)));
    let told = [stream(&house, revoked.expose()).await, stream(&house, expired.expose()).await];
    let tokens = house.registry.operator_tokens(&admin).unwrap();
    let number = tokens.iter().find(|token| token.expires_at.is_none()).unwrap().id;
    house.registry.revoke_operator_token(&admin, number).unwrap();
    house.pass(60_001);
    let began = tokio::time::Instant::now();
    for stream in told {
        rest(stream).await;
    }
    assert!(began.elapsed().as_secs() < 10, "they went on for {:?}", began.elapsed());
    let again = house.send_with("GET", "/events", Some(revoked.expose()), &ACCEPT, "").await;
    assert_eq!(again.code(), (401, "token-revoked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_most_streams_makes_room_for_another_tenant() {
    let house = House::new();
    let [acme, zeta, all] = [Some("acme"), Some("zeta"), None].map(|tenant| house.token(tenant, None));
    let mut flood = Vec::new();
    for _ in 0..64 {
        flood.push(stream(&house, acme.expose()).await);
    }
    assert_eq!(stream(&house, acme.expose()).await.status(), 503);
    let others = [stream(&house, zeta.expose()).await, stream(&house, all.expose()).await];
    assert!(others.iter().all(|stream| stream.status() == 200));
    assert_eq!(stream(&house, acme.expose()).await.status(), 503);
    for made_room in flood.drain(62..) {
        rest(made_room).await;
    }
    drop(flood);
    assert_eq!(stream(&house, acme.expose()).await.status(), 200);
}
