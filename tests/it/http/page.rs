//! The page's files: what they are served with, and what they must not do.

use super::Http;
use crate::support::{TestServer, root};

fn sources() -> Vec<(String, String)> {
    let folder = root().join("src/http/page");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).expect("a text"))
    };
    let mut sources: Vec<_> = std::fs::read_dir(folder).expect("the page").map(read).collect();
    sources.sort();
    sources
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_served_whole_and_locked_down() {
    let server = TestServer::start().await;
    let http = Http::new(server.http);
    for (name, text) in sources() {
        let path = if name == "index.html" { "/".to_owned() } else { format!("/assets/{name}") };
        let reply = http.get(&path).await;
        assert_eq!((reply.status, String::from_utf8_lossy(&reply.body).as_ref()), (200, text.as_str()), "{name}");
        let kind = match name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(reply.header("content-type"), kind, "{name}");
        let policy = reply.header("content-security-policy");
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{name}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{name}: {policy}");
        assert_eq!(
            (reply.header("x-content-type-options"), reply.header("referrer-policy")),
            ("nosniff", "no-referrer")
        );
        let again = http.with("if-none-match", reply.header("etag")).get(&path).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{name}");
    }
    server.shut_down().await;
}

/// Fails when the page could run what an item says, or ask another host for anything.
#[test]
fn the_page_writes_text_and_asks_nobody_else() {
    for (name, text) in sources() {
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "srcdoc",
            "createContextualFragment",
            "setHTML",
            "http://",
            "https://",
            "//cdn",
            "@import",
            " style=\"",
            "onclick=",
            "onload=",
            "localStorage",
            "document.cookie",
        ] {
            assert!(!text.contains(word), "{name} contains {word}");
        }
        assert!(text.lines().count() <= 600, "{name}");
    }
}
