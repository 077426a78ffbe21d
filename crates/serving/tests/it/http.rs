//! Just enough of an HTTP client: one request per connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends a request with extra header lines and reads the whole answer.
pub async fn request(to: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let host = if headers.iter().any(|line| line.starts_with("Host:")) {
        String::new()
    } else {
        format!("Host: {to}\r\n")
    };
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
    );
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A refused body may end the connection before all of it is read.
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// A plain GET.
pub async fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, "GET", path, &[], "").await
}

/// Runs SQL through the console's box.
pub async fn sql(to: SocketAddr, sql: &str) -> (u16, serde_json::Value) {
    let body = serde_json::json!({ "sql": sql }).to_string();
    let answer = request(to, "POST", "/sql", &["Content-Type: application/json"], &body).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}
