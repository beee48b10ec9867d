//! Collections, fields and aliases through the door.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use crate::collection::backend::BackendStats;
use crate::collection::schema::{
    CollectionSchema, FieldSource, FieldSpec, Generation, GenerationState, MediaOriginals, check_fields,
};
use crate::types::{Error, Result};

/// A collection as a caller describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCollection {
    pub name: String,
    pub fields: Vec<FieldSpec>,
    pub media_originals: MediaOriginals,
    /// Empty: the first field.
    pub default_field: String,
}

/// A change of one alias; without a collection the alias is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasChange {
    pub alias: String,
    pub collection: Option<String>,
}

/// A collection as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionInfo {
    pub name: String,
    /// Absent if the collection could not be opened.
    pub schema: Option<Arc<CollectionSchema>>,
    pub problem: Option<String>,
    pub stats: BackendStats,
    pub aliases: Vec<String>,
}

impl Engine {
    /// Makes a collection. Encoders are resolved to their present revision and stay bound to it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::AlreadyExists`], [`Error::NotFound`] for an encoder, [`Error::FailedPrecondition`] if
    /// an encoder cannot fill its field, [`Error::LimitExceeded`].
    pub async fn create_collection(&self, new: NewCollection) -> Result<CollectionInfo> {
        check_fields(&new.fields, &new.default_field)?;
        if new.media_originals == MediaOriginals::Thumbnail {
            return Err(Error::Unsupported("keeping thumbnails".to_owned()));
        }
        let mut fields = Vec::with_capacity(new.fields.len());
        for field in new.fields {
            let generation = self.first_generation(&field).await?;
            fields.push((field, generation));
        }
        let default_field = match (new.default_field, fields.first()) {
            (name, Some((first, _))) if name.is_empty() => first.name.clone(),
            (name, _) => name,
        };
        let catalog = self.shared.catalog.clone();
        let name = new.name.clone();
        blocking(move || catalog.create(&new.name, fields, new.media_originals, &default_field)).await?;
        self.collection_info(&name)
    }

    /// Describes a collection, by its name or an alias.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn collection_info(&self, name: &str) -> Result<CollectionInfo> {
        let resolved = self.shared.catalog.resolve(name)?;
        self.list_collections()
            .into_iter()
            .find(|info| info.name == resolved)
            .ok_or_else(|| Error::NotFound { kind: "collection", name: name.to_owned() })
    }

    /// Describes every collection, by name.
    #[must_use]
    pub fn list_collections(&self) -> Vec<CollectionInfo> {
        let aliases = self.aliases();
        let describe = |(name, opened): (String, Result<Arc<dyn crate::collection::backend::CollectionBackend>>)| {
            let aliases = aliases.iter().filter(|(_, target)| **target == name).map(|(alias, _)| alias.clone()).collect();
            match opened {
                Ok(backend) => {
                    CollectionInfo { name, schema: Some(backend.schema()), problem: None, stats: backend.stats(), aliases }
                }
                Err(error) => {
                    CollectionInfo { name, schema: None, problem: Some(error.to_string()), stats: BackendStats::default(), aliases }
                }
            }
        };
        self.shared.catalog.list().into_iter().map(describe).collect()
    }

    /// Removes a collection with everything in it; gives the number of its items.
    ///
    /// # Errors
    /// [`Error::NotFound`]; an alias is not enough.
    pub async fn drop_collection(&self, name: String) -> Result<u64> {
        let catalog = self.shared.catalog.clone();
        blocking(move || catalog.drop_collection(&name)).await
    }

    /// Adds a field. Fields filled by an encoder can only be added while the collection is empty.
    ///
    /// # Errors
    /// As [`Engine::create_collection`].
    pub async fn add_field(&self, collection: &str, field: FieldSpec) -> Result<CollectionInfo> {
        field.check()?;
        let generation = self.first_generation(&field).await?;
        let catalog = self.shared.catalog.clone();
        let name = self.shared.catalog.resolve(collection)?;
        blocking(move || catalog.add_field(&name, field, generation)).await?;
        self.collection_info(collection)
    }

    /// Removes a field and its vectors.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn drop_field(&self, collection: &str, field: &str) -> Result<CollectionInfo> {
        let catalog = self.shared.catalog.clone();
        let (name, field) = (self.shared.catalog.resolve(collection)?, field.to_owned());
        blocking(move || catalog.drop_field(&name, &field)).await?;
        self.collection_info(collection)
    }

    /// Changes aliases, all in one step.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a target, [`Error::AlreadyExists`] if a collection has the alias's name.
    pub async fn update_aliases(&self, changes: Vec<AliasChange>) -> Result<()> {
        let catalog = self.shared.catalog.clone();
        let changes = changes.into_iter().map(|change| (change.alias, change.collection)).collect();
        blocking(move || catalog.update_aliases(changes)).await
    }

    /// Collections by alias.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, String> {
        self.shared.catalog.aliases()
    }

    /// The encoders that current generations were made with.
    pub(super) fn encoders_in_use(&self) -> Vec<String> {
        let mut encoders: Vec<String> = self
            .list_collections()
            .into_iter()
            .filter_map(|info| info.schema)
            .flat_map(|schema| schema.fields.clone())
            .filter_map(|field| field.current().ok().map(|generation| generation.encoder.clone()))
            .filter(|encoder| !encoder.is_empty())
            .collect();
        encoders.sort();
        encoders.dedup();
        encoders
    }

    async fn first_generation(&self, field: &FieldSpec) -> Result<Generation> {
        let (encoder, takes, needed) = match &field.source {
            FieldSource::Vector { dimension, space } => {
                // Vectors of unknown origin share a space with nobody.
                let space = if space.is_empty() { format!("field:{}", field.name) } else { space.clone() };
                return Ok(Generation {
                    number: 1,
                    encoder: String::new(),
                    space,
                    dimension: *dimension,
                    fingerprint: String::new(),
                    state: GenerationState::Current,
                });
            }
            FieldSource::Text { encoder, .. } => {
                let handle = self.encoders().get(encoder).await?;
                (handle.clone(), handle.info().encodes_text, "texts")
            }
            FieldSource::Media { encoder } => {
                let handle = self.encoders().get(encoder).await?;
                (handle.clone(), handle.info().encodes_image, "images")
            }
        };
        let info = encoder.info();
        if !takes {
            return Err(Error::FailedPrecondition {
                reason: "ENCODER_CANNOT_FILL",
                message: format!("encoder {} ({}) does not encode {needed}; field {:?} needs one that does", info.name, info.architecture, field.name),
            });
        }
        Ok(Generation {
            number: 1,
            encoder: info.full_name(),
            space: info.space.clone(),
            dimension: info.dimension as u32,
            fingerprint: info.fingerprint.clone(),
            state: GenerationState::Current,
        })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(format!("the work broke off: {error}")))?
}
