//! Which hosts a pull may talk to, and which of them may see the token.

use http::Uri;

use crate::{Error, Result};

/// A hub that everybody can reach.
pub struct PublicHub {
    pub url: &'static str,
    /// Domains, with their subdomains, that it sends large files from.
    pub download_domains: &'static [&'static str],
}

/// The hub that is asked if no other is named.
pub const PUBLIC_HUB: PublicHub = PublicHub { url: "https://huggingface.co", download_domains: &["hf.co"] };

/// A hub's address and the hosts that it may redirect to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Without a slash at the end; may have a path, as repository managers do.
    base: String,
    origin: Origin,
    download_domains: &'static [&'static str],
    /// HOST or HOST:PORT, in lower case.
    also_allowed: Vec<String>,
}

impl Endpoint {
    /// Checks the address, `None` being [`PUBLIC_HUB`], and the hosts that the operator trusts besides.
    ///
    /// # Errors
    /// `InvalidArgument` for `endpoint` or `allow-redirect`.
    pub fn new(url: Option<&str>, also_allowed: &[String]) -> Result<Self> {
        let url = url.unwrap_or(PUBLIC_HUB.url);
        let fault = |what: &str| Error::invalid("endpoint", format!("{what}; expected https://HOST, got {url:?}"));
        let uri: Uri = url.parse().map_err(|_| fault("this is no URL"))?;
        let origin = Origin::of(&uri)
            .ok_or_else(|| fault("the scheme is http or https, and names and passwords go elsewhere"))?;
        if uri.query().is_some() || url.contains('#') {
            return Err(fault("an endpoint has no query"));
        }
        let public: Uri =
            PUBLIC_HUB.url.parse().map_err(|error| Error::Internal(format!("the public hub: {error}")))?;
        let is_public = Origin::of(&public).as_ref() == Some(&origin);
        for host in also_allowed {
            let is_host = Origin::of_text(&format!("https://{host}")).is_some() && !host.contains(['/', '?', '#']);
            if !is_host {
                return Err(Error::invalid("allow-redirect", format!("expected HOST or HOST:PORT, got {host:?}")));
            }
        }
        Ok(Self {
            base: url.trim_end_matches('/').to_owned(),
            origin,
            download_domains: if is_public { PUBLIC_HUB.download_domains } else { &[] },
            also_allowed: also_allowed.iter().map(|host| host.to_ascii_lowercase()).collect(),
        })
    }

    /// The address of something below the endpoint.
    ///
    /// # Errors
    /// `Internal` if `path` holds what no URL may.
    pub fn url(&self, path: &str) -> Result<Uri> {
        let url = format!("{}/{path}", self.base);
        url.parse().map_err(|error| Error::Internal(format!("{url:?}: {error}")))
    }

    /// The endpoint's scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.origin.to_string()
    }

    /// True if the token may be sent there.
    #[must_use]
    pub fn is_own(&self, uri: &Uri) -> bool {
        Origin::of(uri).as_ref() == Some(&self.origin)
    }

    /// True if a token would cross a network in the clear.
    #[must_use]
    pub fn is_open_to_listeners(&self) -> bool {
        let host = self.origin.host.trim_matches(['[', ']']);
        let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        !self.origin.is_https && !is_loopback
    }

    /// Reads a `Location` and accepts it if the hub may send us there.
    ///
    /// # Errors
    /// `FailedPrecondition` with `PULL_REDIRECT_REFUSED`, naming the host and what to do.
    pub fn redirect(&self, from: &Uri, location: &str) -> Result<Uri> {
        let refused = |message: String| Err(Error::FailedPrecondition { reason: "PULL_REDIRECT_REFUSED", message });
        let Some(to) = join(from, location) else {
            return refused(format!("{} redirects to {location:?}, which is no http or https URL", self.origin));
        };
        let (Some(came), Some(goes)) = (Origin::of(from), Origin::of(&to)) else {
            return refused(format!("{} redirects to {location:?}, which is no http or https URL", self.origin));
        };
        if came.is_https && !goes.is_https {
            return refused(format!(
                "{came} redirects to {goes}: from https to http, where anyone could change the bytes"
            ));
        }
        if self.allows(&goes) {
            return Ok(to);
        }
        refused(format!(
            "{came} redirects to {goes}, which does not belong to {}; if you trust that host, add --allow-redirect {}",
            self.origin,
            goes.authority()
        ))
    }

    fn allows(&self, goes: &Origin) -> bool {
        let is_sibling = goes.is_https == self.origin.is_https && goes.port == self.origin.port;
        let is_below = !self.origin.is_address() && is_subdomain(&goes.host, &self.origin.host);
        let is_download = goes.is_https
            && goes.port == 443
            && self.download_domains.iter().any(|domain| goes.host == *domain || is_subdomain(&goes.host, domain));
        is_sibling && (goes.host == self.origin.host || is_below)
            || is_download
            || self.also_allowed.iter().any(|allowed| *allowed == goes.host || *allowed == goes.authority())
    }
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    is_https: bool,
    /// In lower case; an IPv6 address with its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// `None` without scheme and host, for other schemes, and if a name or password stands before the host.
    fn of(uri: &Uri) -> Option<Self> {
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        // A port that is no number must not read as the scheme's own.
        let port = match authority.as_str().get(host.len()..)? {
            "" => None,
            rest => Some(rest.strip_prefix(':')?.parse().ok()?),
        };
        Some(Self { is_https, host, port: port.unwrap_or(if is_https { 443 } else { 80 }) })
    }

    fn of_text(text: &str) -> Option<Self> {
        Self::of(&text.parse().ok()?)
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn is_address(&self) -> bool {
        self.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { is_https, host, port } = self;
        match (is_https, port) {
            (true, 443) => write!(f, "https://{host}"),
            (true, _) => write!(f, "https://{host}:{port}"),
            (false, 80) => write!(f, "http://{host}"),
            (false, _) => write!(f, "http://{host}:{port}"),
        }
    }
}

fn is_subdomain(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// Completes a `Location` from the address that sent it: a URL, `//HOST/…` or `/…`.
fn join(from: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next()?;
    if location.starts_with("//") {
        return format!("{}:{location}", from.scheme_str()?).parse().ok();
    }
    if location.starts_with('/') {
        return format!("{}://{}{location}", from.scheme_str()?, from.authority()?).parse().ok();
    }
    location.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: Option<&str>, also: &[&str]) -> Endpoint {
        let also: Vec<String> = also.iter().map(|host| (*host).to_owned()).collect();
        Endpoint::new(url, &also).expect("an endpoint")
    }

    #[test]
    fn redirects_stay_where_the_operator_looks() {
        let public = endpoint(None, &[]);
        let mirror = endpoint(Some("https://mirror.example/hub/"), &["s3.example", "other.example:8443"]);
        let local = endpoint(Some("http://127.0.0.1:81"), &[]);
        let check = |endpoint: &Endpoint, location: &str, expected: Option<&str>| {
            let from = endpoint.url("a/b/resolve/c/config.json").expect("a URL");
            let found = endpoint.redirect(&from, location).map(|uri| uri.to_string());
            match (&found, expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected),
                (Err(Error::FailedPrecondition { reason, .. }), None) => assert_eq!(*reason, "PULL_REDIRECT_REFUSED"),
                _ => panic!("{location}: {found:?}"),
            }
        };
        let refuse = |endpoint: &Endpoint, location: &str| check(endpoint, location, None);
        let accept = |endpoint: &Endpoint, location: &str| check(endpoint, location, Some(location));

        check(&mirror, "/x?y=1", Some("https://mirror.example/x?y=1"));
        check(&mirror, "//cdn.mirror.example/x", Some("https://cdn.mirror.example/x"));
        accept(&mirror, "https://cdn.mirror.example/x");
        accept(&mirror, "https://s3.example/x");
        accept(&mirror, "https://s3.example:9000/x");
        accept(&mirror, "https://other.example:8443/x");
        refuse(&mirror, "https://other.example/x");
        refuse(&mirror, "https://www.s3.example/x");
        refuse(&mirror, "http://s3.example/x");
        refuse(&mirror, "http://mirror.example/x");
        refuse(&mirror, "https://mirror.example:444/x");
        refuse(&mirror, "https://mirror.example:x/x");
        refuse(&mirror, "https://evilmirror.example/x");
        refuse(&mirror, "https://mirror.example.evil.example/x");
        refuse(&mirror, "https://mirror.example@evil.example/x");
        refuse(&mirror, "//evil.example/x");
        refuse(&mirror, "file:///etc/passwd");
        refuse(&mirror, "ftp://mirror.example/x");
        refuse(&mirror, "relative");
        refuse(&mirror, "");
        // Only the public hub's own files come from its download domains.
        let download = format!("https://cdn.{}/x", PUBLIC_HUB.download_domains[0]);
        accept(&public, &download);
        refuse(&mirror, &download);
        refuse(&public, &download.replace("https", "http"));
        refuse(&public, &download.replace("/x", ":444/x"));
        refuse(&public, &download.replace("cdn.", "evil"));
        refuse(&local, "http://127.0.0.1:82/x");
        refuse(&local, "http://1.127.0.0.1:81/x");
        accept(&local, "http://127.0.0.1:81/x");
    }

    #[test]
    fn a_refusal_names_the_host_and_the_remedy() {
        let endpoint = endpoint(Some("https://mirror.example"), &[]);
        let from = endpoint.url("x").expect("a URL");
        let error = endpoint.redirect(&from, "https://evil.example/y").expect_err("outside").to_string();
        assert!(error.contains("--allow-redirect evil.example:443"), "{error}");
    }

    #[test]
    fn only_the_origin_sees_the_token() {
        let endpoint = endpoint(Some("https://mirror.example"), &["s3.example"]);
        let check =
            |url: &str, expected: bool| assert_eq!(endpoint.is_own(&url.parse().expect(url)), expected, "{url}");
        check("https://mirror.example/x", true);
        check("https://MIRROR.example:443/x", true);
        check("https://cdn.mirror.example/x", false);
        check("https://mirror.example:8443/x", false);
        check("http://mirror.example/x", false);
        check("https://s3.example/x", false);
    }

    #[test]
    fn odd_endpoints_are_refused() {
        for url in
            ["", "mirror", "mirror.example", "ftp://a", "https://", "https://u:p@a", "https://a?b", "https://a/#b"]
        {
            assert!(matches!(Endpoint::new(Some(url), &[]), Err(Error::InvalidArgument { .. })), "{url}");
        }
        for host in ["", "a/b", "https://a", "a b", "u@a", "a:b"] {
            assert!(Endpoint::new(None, &[host.to_owned()]).is_err(), "{host}");
        }
        assert!(endpoint(Some("http://mirror.example"), &[]).is_open_to_listeners());
        assert!(!endpoint(Some("http://[::1]:80"), &[]).is_open_to_listeners());
    }
}
