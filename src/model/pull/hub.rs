//! The hub's protocol: what a repository holds at a revision, and the bytes of its files.
//!
//! Redirects are followed by hand, so that each step is checked and the token stays at home.

use std::io::Read;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use serde::Deserialize;
use ureq::{Agent, Body};

use super::endpoint::Endpoint;
use super::reference::{Reference, is_commit};
use crate::{Error, Result};

/// Redirects of one request.
const REDIRECTS: usize = 5;

/// Bytes of the answer that lists a repository.
const LISTING_BYTES: u64 = 32 << 20;

/// The longest wait that a hub may ask for before we give up instead.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The first wait after a failure; it doubles with every one that follows.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// A hub that can be asked.
pub(crate) struct Hub {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    agent: Agent,
    retries: u32,
}

/// A repository at one commit.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) licence: Option<String>,
    pub(crate) files: Vec<Sibling>,
}

/// A file as the hub lists it; nothing is checked yet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sibling {
    pub(crate) rfilename: String,
    pub(crate) size: Option<u64>,
    /// SHA-1 of git's blob.
    pub(crate) blob_id: Option<String>,
    pub(crate) lfs: Option<LargeFile>,
}

/// What git holds a pointer to.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LargeFile {
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelInfo {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default)]
    tags: Vec<String>,
    /// The model card's head, which its authors write freely.
    #[serde(default)]
    card_data: serde_json::Value,
}

/// Why a request brought nothing.
pub(crate) enum Failure {
    /// Trying again may help.
    Passing {
        message: String,
        wait: Option<Duration>,
    },
    Final(Error),
}

impl Failure {
    pub(crate) fn passing(message: impl std::fmt::Display) -> Self {
        Self::Passing { message: message.to_string(), wait: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Hub {
    /// Prepares requests; `token` goes to the endpoint alone.
    ///
    /// # Errors
    /// `InvalidArgument` if the token cannot be sent in a header.
    pub(crate) fn new(endpoint: Endpoint, token: Option<&str>, retries: u32) -> Result<Self> {
        let authorization = token.map(authorization).transpose()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A proxy that the environment names for other programs is not ours.
            .proxy(None)
            .user_agent(concat!("pictor/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(Duration::from_secs(15)))
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Ok(Self { endpoint, authorization, agent, retries })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks what a repository holds.
    ///
    /// # Errors
    /// `NotFound`, `FailedPrecondition` or `Unavailable` with what the hub says.
    pub(crate) fn list(&self, reference: &Reference) -> Result<Listing> {
        let (repository, revision) = (reference.repository(), reference.revision_segment());
        let uri = self.endpoint.url(&format!("api/models/{repository}/revision/{revision}?blobs=true"))?;
        let mut patience = self.patience();
        let bytes = loop {
            match self.read_listing(&uri) {
                Ok(bytes) => break bytes,
                Err(failure) => patience.wait(failure)?,
            }
        };
        let origin = self.endpoint.origin();
        let odd = |message: String| Error::FailedPrecondition { reason: "HUB_NOT_UNDERSTOOD", message };
        let info: ModelInfo = serde_json::from_slice(&bytes)
            .map_err(|error| odd(format!("{origin} describes {reference} in a way that is not the hub's: {error}")))?;
        let is_other = reference.commit().is_some_and(|commit| commit != info.sha);
        if !is_commit(&info.sha) || is_other {
            return Err(odd(format!("{origin} answers with commit {:?} for {reference}", info.sha)));
        }
        Ok(Listing { licence: licence(&info), commit: info.sha, files: info.siblings })
    }

    fn read_listing(&self, uri: &Uri) -> Result<Vec<u8>, Failure> {
        let mut response = self.get(uri, 0)?;
        let mut bytes = Vec::new();
        let mut body = response.body_mut().as_reader().take(LISTING_BYTES + 1);
        body.read_to_end(&mut bytes).map_err(Failure::passing)?;
        if bytes.len() as u64 > LISTING_BYTES {
            let message = format!("{uri} sends more than {LISTING_BYTES} bytes; no model's description is that long");
            return Err(Error::FailedPrecondition { reason: "HUB_NOT_UNDERSTOOD", message }.into());
        }
        Ok(bytes)
    }

    /// Where a file is.
    pub(crate) fn file_url(&self, repository: &str, commit: &str, path: &str) -> Result<Uri> {
        self.endpoint.url(&format!("{repository}/resolve/{commit}/{path}"))
    }

    /// Requests `uri` from a byte on, following redirects. The answer is 200, 206 or 416.
    pub(crate) fn get(&self, uri: &Uri, from_byte: u64) -> Result<Response<Body>, Failure> {
        let mut uri = uri.clone();
        for _ in 0..=REDIRECTS {
            let response = self.request(&uri, from_byte)?;
            let status = response.status();
            let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            match text(&response, header::LOCATION) {
                Some(location) if is_redirect => uri = self.endpoint.redirect(&uri, location)?,
                _ => return check_status(&uri, response, self.authorization.is_some()),
            }
        }
        let message = format!("{} redirects more than {REDIRECTS} times", self.endpoint.origin());
        Err(Error::FailedPrecondition { reason: "PULL_REDIRECT_REFUSED", message }.into())
    }

    fn request(&self, uri: &Uri, from_byte: u64) -> Result<Response<Body>, Failure> {
        // The bytes themselves are hashed, so none may be packed on the way.
        let mut request = Request::get(uri).header(header::ACCEPT_ENCODING, "identity");
        if from_byte > 0 {
            request = request.header(header::RANGE, format!("bytes={from_byte}-"));
        }
        if let Some(authorization) = &self.authorization
            && self.endpoint.is_own(uri)
        {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(()).map_err(|error| Error::Internal(error.to_string()))?;
        self.agent.run(request).map_err(|error| Failure::passing(format!("{}: {error}", without_query(uri))))
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience { retries: self.retries, failures: 0, origin: self.endpoint.origin() }
    }
}

/// How often and how long a failing hub is waited for.
pub(crate) struct Patience {
    retries: u32,
    failures: u32,
    origin: String,
}

impl Patience {
    /// Something arrived: whatever failed before is over.
    pub(crate) fn renew(&mut self) {
        self.failures = 0;
    }

    /// Sleeps before the next try.
    ///
    /// # Errors
    /// The failure if it is final, `Unavailable` if it came too often.
    pub(crate) fn wait(&mut self, failure: Failure) -> Result<()> {
        let (message, asked) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { message, wait } => (message, wait),
        };
        let wait = asked.unwrap_or_default().max(FIRST_WAIT * 2_u32.saturating_pow(self.failures.min(6)));
        if self.failures >= self.retries || wait > LONGEST_WAIT {
            let what = format!("the hub {}", self.origin);
            let message = format!("{message}; what has arrived is kept, pull again to go on from there");
            return Err(Error::Unavailable { what, message, retry_after: wait });
        }
        self.failures += 1;
        std::thread::sleep(wait);
        Ok(())
    }
}

fn authorization(token: &str) -> Result<HeaderValue> {
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = is_token.then(|| HeaderValue::from_str(&format!("Bearer {token}")).ok()).flatten();
    let mut value =
        value.ok_or_else(|| Error::invalid("token", "a token is one word of ASCII letters, digits and signs"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The licence's short name, from the model card or else from the tags.
fn licence(info: &ModelInfo) -> Option<String> {
    let entry = |name: &str| info.card_data.get(name)?.as_str().map(str::to_owned);
    let of_card = entry("license").filter(|name| name != "other").or_else(|| entry("license_name"));
    of_card.or_else(|| info.tags.iter().find_map(|tag| tag.strip_prefix("license:").map(str::to_owned)))
}

fn check_status(uri: &Uri, response: Response<Body>, has_token: bool) -> Result<Response<Body>, Failure> {
    let status = response.status();
    if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE) {
        return Ok(response);
    }
    let reason =
        ["x-error-code", "x-error-message"].iter().filter_map(|name| response.headers().get(*name)?.to_str().ok());
    let reason = reason.collect::<Vec<_>>().join(": ");
    let said = if reason.is_empty() { status.to_string() } else { format!("{status} ({reason})") };
    let answer = format!("{} answers {said}", without_query(uri));
    if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
        let seconds = text(&response, header::RETRY_AFTER).and_then(|text| text.trim().parse().ok());
        return Err(Failure::Passing { message: answer, wait: seconds.map(Duration::from_secs) });
    }
    let remedy = match (status, has_token) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, false) => {
            "check owner, name and revision; if the model is private or its terms must be accepted, give a token with --token-file"
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, true) => {
            "check owner, name and revision, and that the token's owner may read the model and has accepted its terms"
        }
        _ => "check --endpoint",
    };
    let message = format!("{answer}; {remedy}");
    Err(Error::FailedPrecondition { reason: "HUB_REFUSED", message }.into())
}

/// A header's text, if it is there and printable.
pub(crate) fn text(response: &Response<Body>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// Signed addresses carry their secret in the query.
fn without_query(uri: &Uri) -> String {
    uri.to_string().split('?').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licence_is_found_where_authors_write_it() {
        let check = |json: &str, expected: Option<&str>| {
            let info: ModelInfo = serde_json::from_str(json).expect(json);
            assert_eq!(licence(&info).as_deref(), expected, "{json}");
        };
        check(r#"{"sha": ""}"#, None);
        check(r#"{"sha": "", "cardData": null, "tags": ["x"]}"#, None);
        check(r#"{"sha": "", "tags": ["clip", "license:mit"]}"#, Some("mit"));
        check(r#"{"sha": "", "cardData": {"license": "apache-2.0"}, "tags": []}"#, Some("apache-2.0"));
        check(r#"{"sha": "", "cardData": {"license": "other", "license_name": "x"}}"#, Some("x"));
        check(r#"{"sha": "", "cardData": {"license": ["a", "b"]}, "tags": ["license:a"]}"#, Some("a"));
    }

    #[test]
    fn tokens_are_one_word() {
        assert_eq!(authorization("hf_abc").expect("a token"), "Bearer hf_abc");
        assert!(format!("{:?}", authorization("hf_abc")).contains("Sensitive"));
        for bad in ["", "a b", "a\nb", "ä"] {
            assert!(authorization(bad).is_err(), "{bad:?}");
        }
    }
}
