//! A plain HTTP/1.1 client: what it sends is what the test says, byte for byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[derive(Clone)]
pub(super) struct Http {
    pub(super) address: SocketAddr,
    /// Sent with every request.
    headers: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// By names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A refusal by status, code and a part of what it says; every problem has the same shape.
    #[track_caller]
    pub(super) fn check(&self, what: &str, status: u16, code: &str, detail: &str) -> Value {
        assert_eq!(self.status, status, "{what}: {self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{what}");
        let problem = self.json();
        assert_eq!(
            (&problem["type"], &problem["status"]),
            (&"about:blank".into(), &status.into()),
            "{what}: {problem}"
        );
        assert_eq!(problem["code"], code, "{what}: {problem}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{what}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|said| said.contains(detail)), "{what}: {problem}");
        problem
    }
}

impl Http {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, headers: vec![("host".to_owned(), address.to_string())] }
    }

    /// With a header that replaces one of the same name.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.headers.retain(|(known, _)| known != name);
        changed.headers.push((name.to_owned(), value.to_owned()));
        changed
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, b"").await
    }

    pub(super) async fn post(&self, path: &str, json: &Value) -> Reply {
        self.with("content-type", "application/json").send("POST", path, json.to_string().as_bytes()).await
    }

    pub(super) async fn search(&self, json: &Value) -> Reply {
        self.post("/v1/search", json).await
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n").into_bytes();
        for (name, value) in &self.headers {
            request.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        if !self.headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding") {
            request.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
        }
        request.extend(b"\r\n");
        request.extend(body);
        self.raw(&request).await
    }

    /// Sends bytes as they are and reads the first answer.
    pub(super) async fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        // A refusal may come, and close the connection, before the body is sent.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no answer to {:?}: {:?}", String::from_utf8_lossy(&request[..request.len().min(300)]), answer)
        });
        let head = String::from_utf8(answer[..end].to_vec()).expect("ASCII");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let headers: BTreeMap<_, _> = lines.map(header).collect();
        let mut body = answer.split_off(end + 4);
        if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            body = unchunk(&body);
        }
        Reply { status, headers, body }
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).expect("ASCII"), 16).expect("a length");
        if length == 0 {
            return body;
        }
        body.extend(&bytes[end + 2..end + 2 + length]);
        bytes = &bytes[end + 4 + length..];
    }
}

/// A form's body and its content type.
pub(super) fn form(parts: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "----pictor-test-boundary";
    let mut body = Vec::new();
    for (name, content) in parts {
        body.extend(
            format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n")
                .bytes(),
        );
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}
