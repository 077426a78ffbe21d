//! The PostgreSQL wire, as drivers and psql speak it.

use std::time::{Duration, SystemTime};

use futures::{StreamExt, pin_mut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

use crate::platform::Fixture;
use crate::wire::{client, connect, refusal, rows, start};

const TABLE: &str = "CREATE TABLE persons (id BIGINT PRIMARY KEY, name VARCHAR, score DOUBLE, at TIMESTAMP)";

#[tokio::test]
async fn several_statements_answer_one_by_one_with_their_tags() {
    let fixture = Fixture::new();
    let client = client(&fixture).await;
    let sql = format!(
        "{TABLE}; INSERT INTO persons (id, name) VALUES (1, 'a;b'), (2, NULL);; SELECT 7 AS n; SHOW jobs"
    );
    let messages = client.simple_query(&sql).await.unwrap();
    let shown = messages.iter().map(|message| match message {
        SimpleQueryMessage::CommandComplete(count) => format!("done {count}"),
        SimpleQueryMessage::Row(row) => format!("row {}", row.get(0).unwrap()),
        SimpleQueryMessage::RowDescription(columns) => format!("columns {}", columns[0].name()),
        _ => "?".to_owned(),
    });
    let expected = ["done 0", "done 2", "columns n", "row 7", "done 1", "columns name", "done 0"];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    assert_eq!(rows(&client, "SELECT id, name FROM persons ORDER BY id").await, ["1|a;b", "2|-"]);
    assert_eq!(rows(&client, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn parameters_in_queries_and_in_changes() {
    let fixture = Fixture::new();
    let client = client(&fixture).await;
    client.execute(TABLE, &[]).await.unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
    let insert = "INSERT INTO persons VALUES ($1, $2, $3, $4)";
    assert_eq!(client.execute(insert, &[&1_i64, &"O'Hara; --", &2.5_f64, &at]).await.unwrap(), 1);
    assert_eq!(
        client.execute(insert, &[&2_i64, &None::<&str>, &None::<f64>, &None::<SystemTime>]).await.unwrap(),
        1
    );
    let upsert =
        "INSERT INTO persons (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name";
    let upsert = client.prepare(upsert).await.unwrap();
    for name in ["x", "y"] {
        assert_eq!(client.execute(&upsert, &[&2_i64, &name]).await.unwrap(), 1);
    }
    let row = client.query_one("SELECT * FROM persons WHERE id = $1", &[&1_i64]).await.unwrap();
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, &str>("name"), row.get::<_, f64>(2)),
        (1, "O'Hara; --", 2.5)
    );
    assert_eq!(row.get::<_, SystemTime>("at"), at);
    assert_eq!(
        client.execute("UPDATE persons SET score = $1 WHERE id = $2", &[&9.0_f64, &2_i64]).await.unwrap(),
        1
    );
    assert_eq!(rows(&client, "SELECT name, CAST(score AS INT) FROM persons WHERE id = 2").await, ["y|9"]);
    assert_eq!(client.execute("DELETE FROM persons WHERE id > $1", &[&0_i64]).await.unwrap(), 2);
    let sum: i64 = client.query_one("SELECT CAST($1 AS BIGINT) + 1", &[&41_i64]).await.unwrap().get(0);
    assert_eq!(sum, 42);
}

#[tokio::test]
async fn prepared_statements_describe_themselves_and_see_new_tables() {
    let fixture = Fixture::new();
    let client = client(&fixture).await;
    client.batch_execute(TABLE).await.unwrap();
    let statement = client.prepare("SELECT *, count(*) OVER () FROM persons WHERE name = $1").await.unwrap();
    assert_eq!(statement.params(), [Type::TEXT]);
    let types: Vec<_> = statement.columns().iter().map(|column| column.type_().name()).collect();
    assert_eq!(types, ["int8", "text", "float8", "timestamp", "int8"]);
    client.batch_execute("INSERT INTO persons (id, name) VALUES (1, 'a')").await.unwrap();
    assert_eq!(client.query(&statement, &[&"a"]).await.unwrap().len(), 1);
    // The same statement over another table of that name.
    client.batch_execute(&format!("DROP TABLE persons; {TABLE}")).await.unwrap();
    assert_eq!(client.query(&statement, &[&"a"]).await.unwrap().len(), 0);
}

#[tokio::test]
async fn columns_are_named_as_in_postgres() {
    let fixture = Fixture::new();
    let client = client(&fixture).await;
    let statement = client.prepare("SELECT count(*), 1 + 1, upper('a'), 'x' AS y").await.unwrap();
    let names: Vec<_> = statement.columns().iter().map(|column| column.name()).collect();
    assert_eq!(names, ["count", "?column?", "upper", "y"]);
}

#[tokio::test]
async fn errors_have_a_code_and_a_place() {
    let fixture = Fixture::new();
    let client = client(&fixture).await;
    client.batch_execute(TABLE).await.unwrap();
    let (code, position, message) =
        refusal(&client, "SELECT id FROM persons;\n  SELECT 'é', nope FROM persons").await;
    assert_eq!((code.as_str(), position), ("42703", Some(39)), "{message}");
    let (code, position, message) = refusal(&client, "SELECT 1; SELEC 2").await;
    assert_eq!((code.as_str(), position), ("42601", Some(11)), "{message}");
    let (code, position, message) = refusal(&client, "SELECT * FROM absent").await;
    assert_eq!((code.as_str(), position), ("42P01", Some(15)), "{message}");
    assert_eq!(refusal(&client, TABLE).await.0, "42P07");
    client.batch_execute("INSERT INTO persons (id) VALUES (1)").await.unwrap();
    assert_eq!(refusal(&client, "SELECT 1 / (id - id) FROM persons").await.0, "22012");
    assert_eq!(refusal(&client, "SELECT 'a' || ").await.0, "42601");
    // The connection goes on.
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn transactions_are_understood_and_a_late_rollback_warns() {
    let fixture = Fixture::new();
    let (address, _server) = start(&fixture).await;
    let (client, driver) = connect(address).await;
    client.batch_execute(TABLE).await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO persons (id) VALUES (1); COMMIT").await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO persons (id) VALUES (2); ROLLBACK").await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(refusal(&client, "SELECT nope").await.0, "42703");
    assert_eq!(refusal(&client, "SELECT 1").await.0, "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(rows(&client, "SELECT id FROM persons ORDER BY id").await, ["1", "2"]);
    drop(client);
    assert_eq!(driver.await.unwrap(), ["statements commit one by one: what was written stays"]);
}

#[tokio::test]
async fn settings_and_what_tools_send_first() {
    let fixture = Fixture::new();
    let client = client(&fixture).await;
    client
        .batch_execute(
            "SET application_name = 'x'; SET client_encoding TO 'UTF8'; SET datestyle = 'ISO, MDY';
             SET extra_float_digits = 3; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
             SET search_path = public; RESET ALL; DISCARD ALL; DEALLOCATE x; BEGIN READ ONLY; COMMIT",
        )
        .await
        .unwrap();
    assert!(rows(&client, "SHOW server_version").await[0].starts_with("16"), "a version drivers can parse");
    let version = rows(&client, "SELECT version()").await.remove(0);
    assert!(version.starts_with("PostgreSQL 16.6 (Pluvio "), "{version}");
    assert_eq!(rows(&client, "SHOW transaction_isolation").await.len(), 1);
    assert_eq!(rows(&client, "SELECT current_schema(), current_database()").await, ["public|pluvio"]);
    assert_eq!(rows(&client, "SELECT 1 FROM pg_catalog.pg_type WHERE typname = 'int8'").await, ["1"]);
}

#[tokio::test]
async fn the_catalog_that_psql_reads() {
    let fixture = Fixture::new();
    let client = client(&fixture).await;
    client.batch_execute(TABLE).await.unwrap();
    let listing = "SELECT n.nspname, c.relname,
          CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' END
        FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r','v','') AND n.nspname !~ '^pg_toast' AND n.nspname = 'public'
          AND pg_catalog.pg_table_is_visible(c.oid)
        ORDER BY 1, 2";
    assert_eq!(rows(&client, listing).await, ["public|persons|table"]);
    let columns = "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        WHERE c.relname = 'persons' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let expected = ["id|bigint", "name|text", "score|double precision", "at|timestamp without time zone"];
    assert_eq!(rows(&client, columns).await, expected);
    // A second session shares what the first one read.
    let other = crate::wire::client(&fixture).await;
    assert_eq!(rows(&other, listing).await, ["public|persons|table"]);
}

#[tokio::test]
async fn cursors_and_portals_read_piece_by_piece() {
    let fixture = Fixture::new();
    let mut client = client(&fixture).await;
    client.batch_execute("DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 5)").await.unwrap();
    assert_eq!(rows(&client, "FETCH 2 FROM c").await, ["1", "2"]);
    assert_eq!(rows(&client, "FETCH FORWARD ALL FROM c").await, ["3", "4", "5"]);
    client.batch_execute("CLOSE C").await.unwrap();
    assert_eq!(refusal(&client, "FETCH 1 FROM c").await.0, "34000");

    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT * FROM generate_series(1, 5)", &[]).await.unwrap();
    let sizes = [2, 2, 2].map(|rows_max| (rows_max, &portal));
    let mut read = Vec::new();
    for (rows_max, portal) in sizes {
        read.push(transaction.query_portal(portal, rows_max).await.unwrap().len());
    }
    assert_eq!(read, [2, 2, 1]);
}

#[tokio::test]
async fn a_running_query_can_be_cancelled() {
    let fixture = Fixture::new();
    let client = client(&fixture).await;
    let endless = "SELECT * FROM generate_series(1, 1000000000000)";
    let stream = client.query_raw(endless, Vec::<i64>::new()).await.unwrap();
    pin_mut!(stream);
    stream.next().await.unwrap().unwrap();
    client.cancel_token().cancel_query(tokio_postgres::NoTls).await.unwrap();
    let error = loop {
        if let Err(error) = stream.next().await.unwrap() {
            break error;
        }
    };
    assert_eq!(error.code().unwrap().code(), "57014");
    // Only the statement ended.
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    client.batch_execute("SET statement_timeout = '50ms'").await.unwrap();
    assert_eq!(refusal(&client, "SELECT count(*) FROM generate_series(1, 1000000000000)").await.0, "57014");
}

#[tokio::test]
async fn stopping_tells_the_clients() {
    let fixture = Fixture::new();
    let (address, server) = start(&fixture).await;
    let (client, driver) = connect(address).await;
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    fixture.stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(20), server).await.unwrap().unwrap();
    driver.await.unwrap();
    assert!(client.is_closed());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_message_beyond_the_limit_ends_the_connection() {
    let fixture = Fixture::new();
    let (address, _server) = start(&fixture).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let parameters = b"user\0me\0\0";
    let length = 8 + u32::try_from(parameters.len()).unwrap();
    socket.write_all(&length.to_be_bytes()).await.unwrap();
    socket.write_all(&196_608_u32.to_be_bytes()).await.unwrap();
    socket.write_all(parameters).await.unwrap();
    socket.write_all(b"Q\x3f\xff\xff\xff").await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("08P01") && answer.contains("the limit is"), "{answer}");
}
