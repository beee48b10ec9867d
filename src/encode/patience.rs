//! Waiting for room, for work that nobody waits for.

use std::time::Duration;

use crate::{Error, Result};

/// Tries again while there is no room.
///
/// # Errors
/// All but `Overloaded`.
pub async fn patiently<T, F: Future<Output = Result<T>>>(work: impl Fn() -> F) -> Result<T> {
    loop {
        match work().await {
            Err(error @ Error::Overloaded { .. }) => {
                tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_millis(100))).await;
            }
            outcome => return outcome,
        }
    }
}
