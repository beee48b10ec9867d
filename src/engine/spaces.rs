//! How a generation's queries are made: by an encoder that was taught its space, and by which composer.

use super::Engine;
use crate::collection::GenerationChange;
use crate::collection::schema::Generation;
use crate::encode::EncoderInfo;
use crate::model::card::{Agreement, Card};
use crate::search::{bind_composer, warm_up};
use crate::{Error, Result};

/// The share of its teacher's first ten hits that an encoder has to find.
const LEAST_AGREEMENT: f64 = 0.5;

/// What serves a generation's queries from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryEncoder {
    pub generation: u32,
    /// NAME@REVISION.
    pub encoder: String,
    /// What its card says, if it is not the generation's own encoder.
    pub agreement: Option<Agreement>,
}

impl Engine {
    /// Lets queries go through another encoder that writes to the generation's space; an empty name means its own encoder again, and
    /// generation 0 the current one. `is_forced` takes an encoder whose card shows too little agreement or none.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` with `SPACE_MISMATCH` or `AGREEMENT_TOO_LOW`; the encoder's errors.
    pub async fn set_query_encoder(
        &self,
        collection: String,
        field: String,
        generation: u32,
        encoder: String,
        is_forced: bool,
    ) -> Result<QueryEncoder> {
        let schema = self.backend(&collection)?.schema();
        let stored = schema.field(&field)?;
        let generation = if generation == 0 { stored.current()? } else { stored.generation(generation)? };
        if generation.encoder.is_empty() {
            let message = format!("field {:?} holds the caller's vectors and encodes no queries", stored.name);
            return Err(Error::FailedPrecondition { reason: "FIELD_WITHOUT_ENCODER", message });
        }
        let (mut name, mut agreement) = (String::new(), None);
        if !encoder.is_empty() {
            let handle = self.encoders().get(&encoder).await?;
            let full_name = handle.info().full_name();
            check_space(handle.info(), generation)?;
            if full_name != generation.encoder {
                let (encoders, named) = (self.encoders().clone(), full_name.clone());
                let card = self.blocking(move || Card::read(&encoders.find(&named)?.path)).await?;
                check_agreement(&full_name, card.agreement.as_ref(), is_forced)?;
                (name, agreement) = (full_name, card.agreement);
            }
        }
        warm_up(self.encoders(), &Generation { query_encoder: name.clone(), ..generation.clone() }).await?;
        let own = if name.is_empty() { generation.encoder.clone() } else { name.clone() };
        let (number, field) = (generation.number, stored.name.clone());
        let change = GenerationChange::QueryEncoder { number, encoder: name };
        self.with_catalog(move |catalog| catalog.change_generation(&collection, &field, &change)).await?;
        Ok(QueryEncoder { generation: number, encoder: own, agreement })
    }

    /// Says what joins the parts of a generation's queries where they name nothing; an empty name means the default, and generation 0
    /// the current one. Gives the generation's number and the composer with its settings, as they were resolved.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for an unknown composer; `FailedPrecondition` for one that was trained in another space.
    pub async fn set_composer(
        &self,
        collection: String,
        field: String,
        generation: u32,
        composer: String,
    ) -> Result<(u32, String)> {
        let schema = self.backend(&collection)?.schema();
        let stored = schema.field(&field)?;
        let generation = if generation == 0 { stored.current()? } else { stored.generation(generation)? };
        let (number, field) = (generation.number, stored.name.clone());
        let found = bind_composer(&self.shared.composers, &composer, generation).await?.name.clone();
        let composer = if composer.is_empty() { composer } else { found.clone() };
        let change = GenerationChange::Composer { number, composer };
        self.with_catalog(move |catalog| catalog.change_generation(&collection, &field, &change)).await?;
        Ok((number, found))
    }
}

fn check_space(info: &EncoderInfo, generation: &Generation) -> Result<()> {
    if (info.space.as_str(), info.dimension) == (&generation.space, generation.dimension as usize) {
        return Ok(());
    }
    Err(Error::FailedPrecondition {
        reason: "SPACE_MISMATCH",
        message: format!(
            "encoder {} writes to space {}, generation {} holds vectors of space {}; scores between them mean nothing",
            info.full_name(),
            info.space,
            generation.number,
            generation.space
        ),
    })
}

fn check_agreement(encoder: &str, agreement: Option<&Agreement>, is_forced: bool) -> Result<()> {
    let found = match agreement {
        Some(agreement) if agreement.least() >= LEAST_AGREEMENT => return Ok(()),
        Some(agreement) => format!("shows {:.3} of the first ten hits of {}", agreement.least(), agreement.with),
        None => "shows no measured agreement".to_owned(),
    };
    if is_forced {
        tracing::warn!(encoder, "an encoder serves another's space by force: its card {found}");
        return Ok(());
    }
    Err(Error::FailedPrecondition {
        reason: "AGREEMENT_TOO_LOW",
        message: format!("the card of {encoder} {found}; expected at least {LEAST_AGREEMENT}, or force"),
    })
}
