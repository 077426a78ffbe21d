//! A PostgreSQL server over a fixture, and a driver connected to it.

use std::net::SocketAddr;
use std::sync::Arc;

use pluvio_serving::postgres::serve;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use crate::platform::Fixture;

/// Starts the server.
pub async fn start(fixture: &Fixture) -> (SocketAddr, JoinHandle<()>) {
    let listener = fixture.listen().await;
    let address = listener.local_addr().unwrap();
    let (platform, stop) = (Arc::clone(&fixture.platform), fixture.stop.subscribe());
    (address, tokio::spawn(serve(listener, platform, stop)))
}

/// Connects; the second part ends with the connection and gives its notices.
pub async fn connect(to: SocketAddr) -> (Client, JoinHandle<Vec<String>>) {
    let text = format!("host={} port={} user=anyone dbname=pluvio", to.ip(), to.port());
    let (client, mut connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    let driver = tokio::spawn(async move {
        let mut notices = Vec::new();
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                notices.push(notice.message().to_owned());
            }
        }
        notices
    });
    (client, driver)
}

/// A server with one client.
pub async fn client(fixture: &Fixture) -> Client {
    let (address, _) = start(fixture).await;
    connect(address).await.0
}

/// The rows of a simple query as texts, NULL as `-`.
pub async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or("-")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// The code and the position of the error that a simple query gives.
pub async fn refusal(client: &Client, sql: &str) -> (String, Option<u32>, String) {
    let Err(error) = client.simple_query(sql).await else { panic!("{sql} was accepted") };
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    let position = error.position().map(|position| match position {
        tokio_postgres::error::ErrorPosition::Original(position) => *position,
        other => panic!("{other:?}"),
    });
    (error.code().code().to_owned(), position, error.message().to_owned())
}
