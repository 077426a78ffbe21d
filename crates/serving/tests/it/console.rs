//! The console: its page, its numbers, its SQL box and its socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use pluvio_serving::console::{ConsoleOptions, serve};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::http::{get, request, sql};
use crate::platform::{Fixture, job};
use crate::websocket;

const PIPELINE: &str = "
    CREATE STREAM payments (person_id BIGINT, amount DOUBLE) WITH (topic = 'payments', format = 'json');
    CREATE TABLE persons (id BIGINT PRIMARY KEY, name VARCHAR);
    CREATE MATERIALIZED VIEW enriched AS
      SELECT p.person_id, per.name, p.amount FROM payments p LEFT JOIN persons per ON per.id = p.person_id;
    CREATE MATERIALIZED VIEW by_person AS
      SELECT name, count(*) AS payments FROM enriched GROUP BY name;";

async fn start(fixture: &Fixture) -> (SocketAddr, JoinHandle<()>) {
    let listener = fixture.listen().await;
    let address = listener.local_addr().unwrap();
    let options = ConsoleOptions { postgres: Some("127.0.0.1:5433".parse().unwrap()), kafka: None };
    let (platform, stop) = (Arc::clone(&fixture.platform), fixture.stop.subscribe());
    let server = tokio::spawn(async move { serve(listener, platform, options, stop).await.unwrap() });
    (address, server)
}

fn payments(first: i64, count: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new((first..first + count).collect::<Int64Array>());
    let names: ArrayRef =
        Arc::new((first..first + count).map(|id| Some(format!("p{id}"))).collect::<StringArray>());
    let amounts: ArrayRef =
        Arc::new((first..first + count).map(|id| Some(id as f64 / 2.0)).collect::<Float64Array>());
    RecordBatch::try_from_iter_with_nullable([
        ("person_id", ids, true),
        ("name", names, true),
        ("amount", amounts, true),
    ])
    .unwrap()
}

#[tokio::test]
async fn the_page_and_its_files_are_embedded() {
    let fixture = Fixture::new();
    let (address, _server) = start(&fixture).await;
    let page = get(address, "/").await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    for file in ["/style.css", "/js/main.js", "/vendor/uPlot.iife.min.js", "/favicon.svg"] {
        assert!(page.body.contains(file), "{file}");
        assert_eq!(get(address, file).await.status, 200, "{file}");
    }
    let tag = page.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let again = request(address, "GET", "/", &[&format!("If-None-Match: {tag}")], "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(get(address, "/../Cargo.toml").await.status, 404);
    assert_eq!(request(address, "POST", "/", &[], "").await.status, 405);
}

#[tokio::test]
async fn health_and_metrics() {
    let fixture = Fixture::new();
    fixture.platform.metrics().cell("lake_rows", "payments").set(3);
    fixture.jobs.jobs.lock().unwrap().push(job("enriched", 1, 1));
    let (address, _server) = start(&fixture).await;
    assert_eq!(get(address, "/health").await.body, "{\"status\":\"ok\"}");
    let metrics = get(address, "/metrics").await;
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{}", metrics.head);
    assert!(metrics.body.contains("pluvio_lake_rows{name=\"payments\"} 3\n"), "{}", metrics.body);
    assert!(metrics.body.contains("pluvio_job_latency_ms_p99{name=\"enriched\"} 40\n"), "{}", metrics.body);
}

#[tokio::test]
async fn other_sites_are_refused() {
    let fixture = Fixture::new();
    let (address, _server) = start(&fixture).await;
    let rebound = request(address, "GET", "/metrics", &["Host: evil.example"], "").await;
    assert_eq!(rebound.status, 403);
    let json = "Content-Type: application/json";
    let body = json!({ "sql": "SELECT 1" }).to_string();
    let foreign = request(address, "POST", "/sql", &[json, "Origin: http://evil.example"], &body).await;
    assert_eq!(foreign.status, 403);
    let own = request(address, "POST", "/sql", &[json, &format!("Origin: http://{address}")], &body).await;
    assert_eq!(own.status, 200);
    // A form of another site can send this content type without asking.
    let form = request(address, "POST", "/sql", &["Content-Type: text/plain"], &body).await;
    assert_eq!(form.status, 415);
    assert_eq!(websocket::open(address, &["Origin: http://evil.example"]).await.err(), Some(403));
}

#[tokio::test]
async fn the_sql_box_runs_statements() {
    let fixture = Fixture::new();
    let (address, _server) = start(&fixture).await;
    let (status, answer) = sql(
        address,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP); INSERT INTO t VALUES (1, '1970-01-01T00:00:01.5');
         SELECT id, at, NULL AS nothing FROM t",
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["results"][0], json!({ "tag": "CREATE TABLE" }));
    assert_eq!(answer["results"][1], json!({ "tag": "INSERT 0 1" }));
    assert_eq!(answer["results"][2]["columns"], json!(["id", "at", "nothing"]));
    assert_eq!(answer["results"][2]["kinds"], json!(["int", "time", "text"]));
    assert_eq!(answer["results"][2]["rows"], json!([[1, 1500, null]]));
    assert_eq!(answer["results"][2]["more"], json!(false));
}

#[tokio::test]
async fn the_sql_box_has_limits_and_places() {
    let fixture = Fixture::new();
    let (address, _server) = start(&fixture).await;
    let (status, answer) = sql(address, "SELECT * FROM generate_series(1, 5000)").await;
    assert_eq!((status, answer["results"][0]["rows"].as_array().unwrap().len()), (200, 1000));
    assert_eq!(answer["results"][0]["more"], json!(true));
    let (status, answer) = sql(address, "SELECT 1,\n  nope").await;
    assert_eq!(status, 400);
    assert_eq!((&answer["error"]["line"], &answer["error"]["column"]), (&json!(2), &json!(3)), "{answer}");
    let json = "Content-Type: application/json";
    let huge = json!({ "sql": " ".repeat(2 << 20) }).to_string();
    assert_eq!(request(address, "POST", "/sql", &[json], &huge).await.status, 413);
}

#[tokio::test]
async fn the_socket_tells_what_happens() {
    let fixture = Fixture::new();
    fixture.run(PIPELINE).await;
    *fixture.jobs.jobs.lock().unwrap() = vec![job("enriched", 100, 100), job("by_person", 100, 3)];
    let (address, _server) = start(&fixture).await;
    let mut socket = websocket::open(address, &[]).await.ok().unwrap();
    let hello = socket.next().await.unwrap();
    assert_eq!((&hello["type"], &hello["postgres"]), (&json!("hello"), &json!("127.0.0.1:5433")));

    let catalog = socket.of_type("catalog").await;
    assert_eq!(catalog["main"], "enriched");
    let charts: Vec<_> =
        catalog["views"].as_array().unwrap().iter().map(|view| (&view["name"], &view["chart"])).collect();
    assert_eq!(charts, [(&json!("enriched"), &json!("rate")), (&json!("by_person"), &json!("bars"))]);
    assert_eq!(catalog["topics"][0]["name"], "payments");

    let status = socket.of_type("status").await;
    assert_eq!(status["lag_events"], 22);
    assert_eq!(status["jobs"][1]["latency_ms_p99"], 40.0);
    // Rows begin to flow: the rate and, with it, the latency appear.
    fixture.jobs.jobs.lock().unwrap()[0] = job("enriched", 5000, 5000);
    let status =
        socket.until(|message| message["rates"]["rows"].as_f64().is_some_and(|rate| rate > 0.0)).await;
    assert_eq!(status["latency"], json!({ "p50": 12.5, "p99": 40.0 }));
}

#[tokio::test]
async fn the_socket_sends_what_is_watched() {
    let fixture = Fixture::new();
    fixture.run(PIPELINE).await;
    fixture.append("enriched", 1, payments(0, 30));
    let (address, _server) = start(&fixture).await;
    let mut socket = websocket::open(address, &[]).await.ok().unwrap();
    socket.send(&json!({ "watch": ["by_person", "no such view"], "rows": ["enriched"] }).to_string()).await;
    let rows = socket.of_type("rows").await;
    assert_eq!((&rows["view"], &rows["kinds"]), (&json!("enriched"), &json!(["int", "text", "float"])));
    assert_eq!(rows["rows"][0], json!([29, "p29", 14.5]));
    assert_eq!(rows["rows"].as_array().unwrap().len(), 20);
    let chart = socket.of_type("chart").await;
    assert_eq!(
        (&chart["view"], &chart["kind"], &chart["items"]),
        (&json!("by_person"), &json!("bars"), &json!([]))
    );

    fixture.append("enriched", 2, payments(30, 1));
    let rows = socket.until(|message| message["rows"][0][0] == 30).await;
    assert_eq!(rows["rows"][1], json!([29, "p29", 14.5]));
    // Nothing but what is wanted comes after it is taken back.
    socket.send("{}").await;
    while socket.next().await.unwrap()["type"] != "status" {}
}

#[tokio::test]
async fn a_page_that_says_nonsense_is_closed_and_the_server_stops() {
    let fixture = Fixture::new();
    let (address, server) = start(&fixture).await;
    let mut rude = websocket::open(address, &[]).await.ok().unwrap();
    rude.send("nonsense").await;
    while rude.next().await.is_some() {}

    let mut open = websocket::open(address, &[]).await.ok().unwrap();
    open.of_type("hello").await;
    fixture.stop.send_replace(true);
    while open.next().await.is_some() {}
    tokio::time::timeout(Duration::from_secs(20), server).await.unwrap().unwrap();
}
