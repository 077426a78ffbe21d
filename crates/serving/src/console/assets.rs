//! The page's files, embedded. No network, no build step: what is in `console/`
//! is what is served.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use pluvio_foundation::hash::stable_hash;

/// Nothing but our own files and our own socket; no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, media type and content of each file.
macro_rules! assets {
    ($($path:literal => $kind:literal),* $(,)?) => {
        &[$(($path, $kind, include_bytes!(concat!("../../../../console/", $path)))),*]
    };
}

const HTML: &str = "index.html";

const ASSETS: &[(&str, &str, &[u8])] = assets! {
    "index.html" => "text/html; charset=utf-8",
    "style.css" => "text/css; charset=utf-8",
    "favicon.svg" => "image/svg+xml",
    "js/dom.js" => "text/javascript; charset=utf-8",
    "js/format.js" => "text/javascript; charset=utf-8",
    "js/live.js" => "text/javascript; charset=utf-8",
    "js/main.js" => "text/javascript; charset=utf-8",
    "js/overview.js" => "text/javascript; charset=utf-8",
    "js/plot.js" => "text/javascript; charset=utf-8",
    "js/rain.js" => "text/javascript; charset=utf-8",
    "js/sql.js" => "text/javascript; charset=utf-8",
    "js/tables.js" => "text/javascript; charset=utf-8",
    "js/views.js" => "text/javascript; charset=utf-8",
    "vendor/uPlot.iife.min.js" => "text/javascript; charset=utf-8",
    "vendor/uPlot.min.css" => "text/css; charset=utf-8",
    "vendor/uPlot-LICENSE" => "text/plain; charset=utf-8",
};

/// Answers with a file, or 304 if the browser has it.
pub(super) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let path = match uri.path().trim_start_matches('/') {
        "" => HTML,
        path => path,
    };
    let Some((_, kind, content)) = ASSETS.iter().find(|(name, _, _)| *name == path) else {
        return (StatusCode::NOT_FOUND, "There is nothing here; the console is at /\n").into_response();
    };
    let tag = format!("\"{:016x}\"", stable_hash(content));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let mut response = (*content).into_response();
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, fixed(kind));
    headers.insert(header::CACHE_CONTROL, fixed("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, fixed(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(header::REFERRER_POLICY, fixed("no-referrer"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        let (_, _, content) = ASSETS.iter().find(|(name, _, _)| *name == path).unwrap();
        std::str::from_utf8(content).unwrap()
    }

    #[test]
    fn every_file_that_is_named_is_embedded() {
        for (path, _, content) in
            ASSETS.iter().filter(|(path, _, _)| path.ends_with(".js") || path.ends_with(".html"))
        {
            let content = String::from_utf8_lossy(content);
            for quoted in content.split(['"', '\'']) {
                let name = quoted.strip_prefix("./").map(|name| format!("js/{name}"));
                let name = name.or_else(|| quoted.strip_prefix('/').map(str::to_owned));
                let Some(name) =
                    name.filter(|name| [".js", ".css", ".svg"].iter().any(|end| name.ends_with(end)))
                else {
                    continue;
                };
                assert!(ASSETS.iter().any(|(known, _, _)| *known == name), "{path} names {name}");
            }
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_is_inline() {
        let html = text(HTML);
        assert!(!html.contains("http:") && !html.contains("https:"), "an address outside");
        assert!(!html.contains("style=") && !html.contains("onclick"), "inline code");
        for (path, _, content) in ASSETS.iter().filter(|(path, _, _)| path.starts_with("js/")) {
            let content = String::from_utf8_lossy(content);
            assert!(!content.contains("innerHTML"), "{path} makes markup from text");
        }
    }
}
