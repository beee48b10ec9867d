//! A hub on loopback that serves one repository, as well or as badly as a test asks for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use sha1::{Digest, Sha1};

/// The commit that every revision of the mirror's repository is.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the mirror does with a request for a file.
pub(crate) enum Answer {
    /// As a hub should.
    Serve,
    /// The whole file, whatever was asked for.
    IgnoreRange,
    /// This many bytes, then the connection is closed.
    Cut(usize),
    /// This many bytes, then silence until the other side goes away.
    Stall(usize),
    Status(u16, &'static str),
    Redirect(String),
    /// Other bytes than the repository's, honestly announced.
    Other(Vec<u8>),
    /// The file and more, without a length.
    Longer,
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The path inside the repository, or the URL's path for everything else.
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
    /// Bytes of the file that were sent.
    pub(crate) sent: usize,
}

type Rule = Box<dyn Fn(&str, usize) -> Answer + Send>;

struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Names that stand in the listing besides.
    extra_names: Vec<String>,
    rule: Mutex<Rule>,
    seen: Mutex<Vec<Seen>>,
    token: Option<&'static str>,
}

pub(crate) struct Mirror {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

impl Mirror {
    pub(crate) fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::start_with(files, &[], None)
    }

    /// Lists `extra_names`, too, and demands `token`.
    pub(crate) fn start_with(
        files: BTreeMap<String, Vec<u8>>,
        extra_names: &[&str],
        token: Option<&'static str>,
    ) -> Self {
        let extra_names = extra_names.iter().map(|name| (*name).to_owned()).collect();
        let rule: Rule = Box::new(|_, _| Answer::Serve);
        let state = State { files, extra_names, rule: Mutex::new(rule), seen: Mutex::default(), token };
        let (state, listener) = (Arc::new(state), TcpListener::bind("127.0.0.1:0").expect("a port"));
        let address = listener.local_addr().expect("bound");
        let shared = state.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = shared.clone();
                // A test ends without waiting for connections that hang on purpose.
                std::thread::spawn(move || state.answer(connection));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Decides by the path inside the repository and the number of earlier requests for it.
    pub(crate) fn rule(&self, rule: impl Fn(&str, usize) -> Answer + Send + 'static) {
        *lock(&self.state.rule) = Box::new(rule);
    }

    /// The requests so far, which are forgotten.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.state.seen))
    }
}

impl State {
    fn answer(&self, connection: TcpStream) {
        let mut reader = BufReader::new(connection.try_clone().expect("a socket"));
        let (mut line, mut head) = (String::new(), BTreeMap::new());
        if reader.read_line(&mut line).is_err() {
            return;
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(n) if n > 2 => {
                    let (name, value) = line.split_once(':').expect("a header");
                    head.insert(name.to_ascii_lowercase(), value.trim().to_owned());
                }
                _ => break,
            }
        }
        let path =
            target.split_once(&format!("/resolve/{COMMIT}/")).map_or(target.as_str(), |(_, path)| path).to_owned();
        let (range, authorization) = (head.remove("range"), head.remove("authorization"));
        let nth = lock(&self.seen).iter().filter(|seen| seen.path == path).count();
        let answer = (lock(&self.rule))(&path, nth);
        let position = {
            let mut seen = lock(&self.seen);
            seen.push(Seen { path: path.clone(), range: range.clone(), authorization: authorization.clone(), sent: 0 });
            seen.len() - 1
        };
        let is_welcome = self.token.is_none_or(|token| authorization.as_deref() == Some(&format!("Bearer {token}")));
        let (answer, content) = match () {
            () if !is_welcome => (Answer::Status(401, "x-error-code: RepoNotFound\r\n"), Vec::new()),
            () if target.starts_with("/api/models/") => (answer, self.listing()),
            () => match self.files.get(&path) {
                Some(content) => (answer, content.clone()),
                None => (Answer::Status(404, "x-error-code: EntryNotFound\r\n"), Vec::new()),
            },
        };
        // The other side may be gone, killed by the test.
        let _ = self.send(connection, &answer, &content, range.as_deref(), position);
    }

    fn send(
        &self,
        mut to: TcpStream,
        answer: &Answer,
        content: &[u8],
        range: Option<&str>,
        position: usize,
    ) -> std::io::Result<()> {
        let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
        let start = if matches!(answer, Answer::IgnoreRange | Answer::Other(_)) { 0 } else { start };
        let content = if let Answer::Other(other) = answer { other } else { content };
        let part = content.get(start..).unwrap_or_default();
        match answer {
            Answer::Status(status, headers) => {
                return write!(to, "HTTP/1.1 {status} No\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
            }
            Answer::Redirect(location) => {
                return write!(
                    to,
                    "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
            }
            Answer::Longer => {
                write!(to, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
                to.write_all(content)?;
                return to.write_all(b"and more");
            }
            _ => {}
        }
        if start > 0 {
            let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
            write!(to, "HTTP/1.1 206 Partial Content\r\ncontent-range: {range}\r\n")?;
        } else {
            write!(to, "HTTP/1.1 200 OK\r\n")?;
        }
        write!(to, "content-length: {}\r\nconnection: close\r\n\r\n", part.len())?;
        let part = match answer {
            Answer::Cut(bytes) | Answer::Stall(bytes) => &part[..*bytes],
            _ => part,
        };
        to.write_all(part)?;
        to.flush()?;
        lock(&self.seen)[position].sent = part.len();
        if matches!(answer, Answer::Stall(_)) {
            to.shutdown(std::net::Shutdown::Read)?;
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
        Ok(())
    }

    fn listing(&self) -> Vec<u8> {
        let described = self.files.iter().map(|(path, bytes)| {
            let blob = Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize();
            let mut entry = serde_json::json!({"rfilename": path, "size": bytes.len(), "blobId": hex(&blob)});
            if path.ends_with(".safetensors") {
                let sha256 = hex(&sha2::Sha256::digest(bytes));
                // Git has only a pointer to it, whose hash says nothing about the file.
                entry["blobId"] = serde_json::json!("f".repeat(40));
                entry["lfs"] = serde_json::json!({"sha256": sha256, "size": bytes.len(), "pointerSize": 134});
            }
            entry
        });
        let extra = self
            .extra_names
            .iter()
            .map(|name| serde_json::json!({"rfilename": name, "size": 3, "blobId": "0".repeat(40)}));
        let siblings: Vec<_> = described.chain(extra).collect();
        let card = serde_json::json!({"license": "apache-2.0"});
        serde_json::json!({"id": "Owner/Tiny", "sha": COMMIT, "siblings": siblings, "cardData": card})
            .to_string()
            .into()
    }
}

/// A folder's files by path.
pub(crate) fn read_folder(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(inner).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").to_str().expect("a name").to_owned();
                files.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
