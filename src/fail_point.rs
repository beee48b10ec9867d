//! Named places at which a test lets this process die, to see what a start afterwards makes of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `NAME` or `NAME:COUNT`: the process dies when it passes the place for the COUNT-th time.
const VARIABLE: &str = "PICTOR_FAIL_POINT";

struct Armed {
    name: String,
    left: AtomicU64,
}

/// Dies here, without any clean-up, if the environment says so; costs one comparison otherwise.
pub(crate) fn fail_point(name: &str) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some(Armed { name: name.to_owned(), left: AtomicU64::new(count.parse().ok()?) })
    });
    if let Some(armed) = armed
        && armed.name == name
        && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}
