//! Just enough of a WebSocket client: texts both ways.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An open socket.
pub struct Socket(BufReader<TcpStream>);

/// Opens `/live`; the status if it is refused.
pub async fn open(to: SocketAddr, headers: &[&str]) -> Result<Socket, u16> {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let text = format!(
        "GET /live HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{lines}\r\n"
    );
    let mut socket = BufReader::new(TcpStream::connect(to).await.unwrap());
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let status = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap().parse().unwrap();
    if status == 101 { Ok(Socket(socket)) } else { Err(status) }
}

impl Socket {
    /// Sends a text, in one masked frame whose mask is zero.
    pub async fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).await.unwrap();
    }

    /// The next text as JSON; none when the server closes.
    pub async fn next(&mut self) -> Option<Value> {
        let [first, second] = [self.0.read_u8().await.ok()?, self.0.read_u8().await.ok()?];
        let length = match second {
            126 => usize::from(self.0.read_u16().await.unwrap()),
            127 => usize::try_from(self.0.read_u64().await.unwrap()).unwrap(),
            short => usize::from(short),
        };
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        match first & 0x0f {
            1 => Some(serde_json::from_slice(&body).unwrap()),
            8 => None,
            code => panic!("frame {code}"),
        }
    }

    /// The next message that `wanted` takes.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next().await.expect("the server closed the socket");
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The next message of this type.
    pub async fn of_type(&mut self, name: &str) -> Value {
        self.until(|message| message["type"] == name).await
    }
}
