//! Who may ask: this machine under its own names, and pages that came from here.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refuses requests that a foreign page could have caused.
pub(super) async fn check(State(loopback_only): State<bool>, request: Request, next: Next) -> Response {
    if allowed(request.headers(), loopback_only) {
        return next.run(request).await;
    }
    let message = "This console answers only to localhost, 127.0.0.1 and [::1], and to its own page.\n";
    (StatusCode::FORBIDDEN, message).into_response()
}

/// `Host` must be one of this machine's names; `Origin`, which browsers add to
/// sockets and posts, must be that same host. Ports are not compared with the
/// listener's, so that a forwarded port works.
fn allowed(headers: &HeaderMap, loopback_only: bool) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(host) = text(header::HOST) else { return false };
    if loopback_only && !matches!(name(host), "localhost" | "127.0.0.1" | "[::1]") {
        return false;
    }
    match text(header::ORIGIN) {
        None => true,
        Some(origin) => {
            origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        }
    }
}

/// A host without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        allowed(&headers, true)
    }

    #[test]
    fn only_this_machine_under_its_own_names() {
        assert!(ask("localhost:8080", None));
        assert!(ask("127.0.0.1:9999", None));
        assert!(ask("[::1]:8080", None));
        assert!(ask("[::1]", None));
        assert!(!ask("rebound.example:8080", None));
        assert!(!ask("localhost.evil.example", None));
        assert!(!allowed(&HeaderMap::new(), true));
    }

    #[test]
    fn only_its_own_page() {
        assert!(ask("localhost:8080", Some("http://localhost:8080")));
        assert!(!ask("localhost:8080", Some("http://evil.example")));
        assert!(!ask("localhost:8080", Some("http://localhost:3000")));
        assert!(!ask("localhost:8080", Some("null")));
    }
}
