//! A quote that is never closed takes no row with it in silence, on either way in for a table.

use serde_json::{Value, json};

use crate::operator_api;
use crate::thingsboard_rest::{Answer, House};

async fn thingsboard(house: &House, file: String) -> Answer {
    let operator = format!("Bearer {}", house.log_in("operator").await.0);
    let auth = [("x-authorization", operator.as_str()), ("content-type", "text/csv")];
    house.send("POST", "/api/device/bulk_import", &auth, file).await
}

async fn devices(house: &House) -> Value {
    let viewer = format!("Bearer {}", house.log_in("viewer").await.0);
    let auth = [("x-authorization", viewer.as_str())];
    house.send("GET", "/api/tenant/devices?pageSize=1&page=0", &auth, "").await.json()["totalElements"]
        .clone()
}

#[tokio::test]
async fn plain_csv_that_cannot_be_read_is_refused_with_the_place() {
    let house = House::new();
    for (file, told) in [
        ("name,color\nUQ1,\"red\nUQ2,blue\nUQ3,green\n", "The quote at line 2, column 5 is not closed"),
        ("name,\"unclosed\nRC10,1\n", "The quote at line 1, column 6 is not closed"),
        ("", "Line 1, column 1: the file is empty"),
        ("Name,type\nx,\n", "Line 1 names no column `name`; commas stand between columns"),
        ("name,name\nx,y\n", "Line 1 names two columns `name`"),
    ] {
        assert_eq!(
            thingsboard(&house, file.to_owned()).await.wrong(),
            (400, 31, told.to_owned()),
            "{file:?}"
        );
    }
    assert_eq!(devices(&house).await, 0);
    let told = thingsboard(&house, "name,size\nUQ1,6\"\" pipe\nUQ2,\"a\"\"b\"".to_owned()).await.json();
    assert_eq!(told, json!({ "created": 2, "updated": 0, "errors": 0, "errorsList": [] }));
}

#[tokio::test]
async fn what_a_long_file_recorded_before_its_unclosed_quote_is_told() {
    let house = House::new();
    let rows: String = (0..700).map(|row| format!("SN-{row:04}\n")).collect();
    let told = thingsboard(&house, format!("name\n{rows}\"x\ny\n")).await.wrong();
    let text = "The quote at line 702, column 1 is not closed; of the rows before it 500 were created and 0 updated, \
                and that stays";
    assert_eq!((told.0, told.2.as_str()), (400, text));
    assert_eq!(devices(&house).await, 500);
}

#[tokio::test]
async fn our_own_import_records_what_stands_before_an_unclosed_quote_and_tells_of_the_rest() {
    let house = operator_api::House::new();
    let acme = house.token(Some("acme"), None);
    for tail in ["\nUQ6,acme-thing,blue\n".to_owned(), "x".repeat(1024 * 1024)] {
        let file = format!("name,type,label\nUQ4,acme-thing,\nUQ5,acme-thing,\"red{tail}");
        let answer = house.send("POST", "/devices:import", Some(acme.expose()), file).await;
        let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [first, last, summary] = lines.as_slice() else { panic!("{}", answer.text) };
        assert_eq!(first["name"], "UQ4");
        let detail = "The quote at line 3, column 16 is not closed; nothing from here on was read.";
        let expected = json!({ "type": "row", "line": 3, "name": "", "result": "error", "code": "row-unreadable", "detail": detail });
        assert_eq!(last, &expected);
        assert_eq!(summary["errors"], 1, "{summary}");
    }
    let heading = house.send("POST", "/devices:import", Some(acme.expose()), "name,\"type\nx,y\n").await;
    assert_eq!(heading.code(), (400, "csv-unreadable".to_owned()));
    assert!(heading.text.contains("line 1, column 6"), "{}", heading.text);
}
