//! Takes ports.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::error::CliError;

/// Takes the port of an option.
///
/// # Errors
/// It is in use, or not ours to take.
pub async fn listen(option: &str, address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => CliError::Other(format!(
            "the port {} is in use (--{option} {address}); stop what listens there or choose another with --{option} {}:PORT",
            address.port(), address.ip()
        )),
        _ => CliError::io(format!("cannot listen on {address} (--{option})"), error),
    })
}

/// The address that a port was taken at.
///
/// # Errors
/// The system cannot tell.
pub fn address(listener: &TcpListener) -> Result<SocketAddr, CliError> {
    listener.local_addr().map_err(|e| CliError::io("cannot tell the listening address", e))
}
