//! Generations of a field: started, filled beside the writers, made current, dropped.

use super::LocalCollection;
use super::moment::Inner;
use super::plan::{AddedItem, Plan};
use crate::collection::backend::{Durability, FillOutcome, Filling};
use crate::collection::catalog_entry::{GenerationChange, GenerationChanged, GenerationSpec};
use crate::collection::schema::{CollectionSchema, Field, FieldSource, Generation, GenerationState};
use crate::index::{SegmentedIndex, VectorIndex};
use crate::store::VectorSlot;
use crate::types::limits::GENERATIONS;
use crate::types::{ItemId, PartRef};
use crate::{Error, Result};

impl LocalCollection {
    /// Changes the generations of a field in one batch; readers see the field before or after.
    pub(in crate::collection) fn change_generation(
        &self,
        field: &str,
        change: &GenerationChange,
    ) -> Result<GenerationChanged> {
        let inner = &self.inner;
        let _writer = inner.lock_writer()?;
        let mut schema = CollectionSchema::clone(&inner.schema());
        let id = schema.field(field)?.id;
        let field = schema.fields.iter_mut().find(|field| field.id == id);
        let field = field.ok_or_else(|| Error::Internal("a field was lost".to_owned()))?;
        let before = field.clone();
        let previous = field.current().map_or(0, |current| current.number);
        let number = apply(field, change)?;
        let key = (id, number);
        let is_dropped = matches!(change, GenerationChange::Drop(_));
        let dropped = inner.state.read().indexes.get(&key).filter(|_| is_dropped).map_or(0, |index| index.len() as u64);
        let changed = GenerationChanged { number, previous, dropped, keys: (inner.id, id) };
        if *field == before {
            return Ok(changed);
        }
        let added = match change {
            GenerationChange::Add { spec, .. } => {
                Some(SegmentedIndex::new(spec.dimension as usize, inner.segments.chunk(), inner.pool.clone()))
            }
            _ => None,
        };
        inner.change_schema(
            schema,
            |batch| {
                if is_dropped {
                    batch.delete_generation_vectors(inner.id, id, number);
                }
            },
            |state| {
                if let Some(index) = added {
                    state.indexes.insert(key, index);
                }
                if is_dropped {
                    state.indexes.remove(&key);
                }
            },
        )?;
        Ok(changed)
    }
}

/// Changes the description of a field; gives the number of the generation concerned.
fn apply(field: &mut Field, change: &GenerationChange) -> Result<u32> {
    match change {
        GenerationChange::Add { spec, job } => add(field, spec, job),
        GenerationChange::Complete(number) => {
            let is_first = field.current().is_err();
            let generation = find(field, *number)?;
            if generation.state == GenerationState::Building {
                generation.state = if is_first { GenerationState::Current } else { GenerationState::Ready };
            }
            Ok(*number)
        }
        GenerationChange::QueryEncoder { number, encoder } => {
            find(field, *number)?.query_encoder.clone_from(encoder);
            Ok(*number)
        }
        GenerationChange::Composer { number, composer } => {
            find(field, *number)?.composer.clone_from(composer);
            Ok(*number)
        }
        GenerationChange::Switch(number) => {
            let generation = find(field, *number)?;
            if generation.state == GenerationState::Building {
                return Err(refused("GENERATION_IS_BUILDING", field, *number, "is not complete yet; wait for its job"));
            }
            let encoder = generation.encoder.clone();
            for generation in &mut field.generations {
                if generation.state == GenerationState::Current {
                    generation.state = GenerationState::Retired;
                }
            }
            find(field, *number)?.state = GenerationState::Current;
            match &mut field.source {
                FieldSource::Media { encoder: named } | FieldSource::Text { encoder: named, .. } => *named = encoder,
                FieldSource::Vector { .. } => {}
            }
            Ok(*number)
        }
        GenerationChange::Drop(number) => {
            if find(field, *number)?.state == GenerationState::Current {
                return Err(refused("GENERATION_IS_CURRENT", field, *number, "is what searches use; switch first"));
            }
            field.next_generation = field.next_generation();
            field.generations.retain(|generation| generation.number != *number);
            Ok(*number)
        }
    }
}

fn add(field: &mut Field, spec: &GenerationSpec, job: &str) -> Result<u32> {
    if let Some(own) = field.generations.iter().find(|generation| generation.job == job) {
        return Ok(own.number);
    }
    if matches!(field.source, FieldSource::Vector { .. }) {
        return Err(Error::FailedPrecondition {
            reason: "FIELD_WITHOUT_ENCODER",
            message: format!("field {:?} holds the caller's vectors; there is nothing to encode again", field.name),
        });
    }
    let building = field.generations.iter().find(|generation| generation.state == GenerationState::Building);
    if let Some(building) = building {
        let why = format!("is being built by job {}; wait for it or cancel it", building.job);
        return Err(refused("GENERATION_IS_BUILDING", field, building.number, &why));
    }
    GENERATIONS.check("generations of the field", field.generations.len() + 1)?;
    let number = field.next_generation();
    field.next_generation = number + 1;
    field.generations.push(Generation {
        number,
        encoder: spec.encoder.clone(),
        space: spec.space.clone(),
        dimension: spec.dimension,
        fingerprint: spec.fingerprint.clone(),
        state: GenerationState::Building,
        job: job.to_owned(),
        query_encoder: String::new(),
        composer: String::new(),
    });
    Ok(number)
}

fn find(field: &mut Field, number: u32) -> Result<&mut Generation> {
    field.generation(number)?;
    let found = field.generations.iter_mut().find(|generation| generation.number == number);
    found.ok_or_else(|| Error::Internal("a generation was lost".to_owned()))
}

fn refused(reason: &'static str, field: &Field, number: u32, why: &str) -> Error {
    Error::FailedPrecondition { reason, message: format!("generation {number} of field {:?} {why}", field.name) }
}

impl Inner {
    /// Counts the vectors that each item has in a generation.
    pub(super) fn filled(&self, field: &str, generation: u32, ids: &[ItemId]) -> Result<Vec<usize>> {
        let field = self.schema().field(field)?.id;
        let snapshot = self.store.snapshot();
        let internals = snapshot.internal_ids(self.id, ids)?;
        let found: Vec<u64> = internals.iter().flatten().copied().collect();
        let mut records = snapshot.records(self.id, &found)?.into_iter();
        let is_of = |slot: &&VectorSlot| (slot.field, slot.generation) == (field, generation);
        let count = |internal: Option<u64>| {
            let record = internal.and_then(|_| records.next().flatten());
            record.map_or(0, |record| record.vectors.iter().filter(is_of).count())
        };
        Ok(internals.into_iter().map(count).collect())
    }

    /// Adds vectors of stored items to a generation that is being built.
    pub(super) fn fill(&self, field: &str, generation: u32, fillings: Vec<Filling>) -> Result<Vec<FillOutcome>> {
        self.wait_for_room()?;
        self.store.check_room(0)?;
        let ids: Vec<ItemId> = fillings.iter().map(|filling| filling.id.clone()).collect();
        let outcomes = self.write(&ids, fillings, Durability::Async, |plan, filling| {
            let schema = plan.schema.clone();
            let field = schema.field(field)?;
            let generation = field.generation(generation)?;
            if generation.state != GenerationState::Building {
                return Err(refused("GENERATION_IS_COMPLETE", field, generation.number, "is complete already"));
            }
            plan.fill(field, generation, filling)
        })?;
        outcomes.into_iter().collect()
    }
}

impl Plan<'_> {
    /// Plans the vectors of one item in one generation.
    fn fill(&mut self, field: &Field, generation: &Generation, filling: Filling) -> Result<FillOutcome> {
        let Some(mut current) = self.current(&filling.id).cloned() else { return Ok(FillOutcome::NotNeeded) };
        let record = &mut current.record;
        let slot = |part: usize| VectorSlot { field: field.id, generation: generation.number, part: part as u32 };
        let taken = record.parts.iter().enumerate().filter(|(_, (part, _))| field.source.takes(&field.name, part));
        let missing: Vec<(VectorSlot, PartRef)> = taken
            .map(|(position, (part, _))| (slot(position), part.clone()))
            .filter(|(slot, _)| !record.vectors.contains(slot))
            .collect();
        if missing.is_empty() {
            return Ok(FillOutcome::NotNeeded);
        }
        if record.parts != filling.parts {
            return Ok(FillOutcome::Changed);
        }
        let mut vectors = Vec::with_capacity(missing.len());
        for (slot, part) in missing {
            let given = filling.vectors.iter().find(|(of, _)| *of == part).map(|(_, vector)| vector);
            let vector = given.ok_or_else(|| Error::invalid("vectors", format!("part {part:?} has none")))?;
            if vector.values.len() != generation.dimension as usize {
                return Err(Error::invalid(
                    "vectors",
                    format!("expected {} numbers, got {}", generation.dimension, vector.values.len()),
                ));
            }
            self.batch.put_vector(self.collection(), current.internal, slot, vector);
            record.vectors.push(slot);
            vectors.push((slot, vector.values.clone()));
        }
        record.vectors.sort_unstable();
        self.batch.put_item(self.collection(), current.internal, record)?;
        self.changes
            .added
            .insert(current.internal, AddedItem { id: filling.id.clone(), vectors, deferred: Vec::new() });
        self.set_current(filling.id, Some(current));
        Ok(FillOutcome::Filled)
    }
}
