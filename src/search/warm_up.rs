//! Proves that a generation can be searched before searches depend on it.

use crate::collection::schema::Generation;
use crate::encode::{EncoderRegistry, Role};
use crate::{Error, Result};

/// What is encoded to see that a network answers.
const PROBE: &str = "a picture";

/// Loads the generation's encoders, compares the one that writes with what the vectors were made with, and lets each answer once.
///
/// # Errors
/// `FailedPrecondition` if the encoder has changed; the encoder's errors.
pub async fn warm_up(encoders: &EncoderRegistry, generation: &Generation) -> Result<()> {
    if generation.encoder.is_empty() {
        return Ok(());
    }
    let encoder = encoders.get(&generation.encoder).await?;
    let info = encoder.info();
    if (&info.space, &info.fingerprint) != (&generation.space, &generation.fingerprint) {
        return Err(Error::FailedPrecondition {
            reason: "ENCODER_CHANGED",
            message: format!(
                "encoder {} has fingerprint {}, generation {} was made with {}; embed again",
                generation.encoder, info.fingerprint, generation.number, generation.fingerprint
            ),
        });
    }
    let mut handles = vec![encoder.clone()];
    if !generation.query_encoder.is_empty() {
        handles.push(encoders.get(&generation.query_encoder).await?);
    }
    for handle in handles.iter().filter(|handle| handle.info().encodes_text) {
        handle.encode_texts(vec![PROBE.to_owned()], Role::Query, None).await?;
    }
    Ok(())
}
