//! Collections and fields.

use pictor_proto::v1;
use pictor_proto::v1::field_spec::Source;

use super::filter::path_from_proto;
use super::payload_indexes::payload_index_to_proto;
use super::values::timestamp_to_proto;
use crate::collection::backend::{BackendStats, CollectionBackend as _};
use crate::collection::schema::{Field, FieldSource, FieldSpec, GenerationState, MediaOriginals};
use crate::collection::{CollectionInfo, Expiry};
use crate::types::{Error, Result};

pub(in crate::rpc) fn field_from_proto(field: v1::FieldSpec) -> Result<FieldSpec> {
    let source = match field.source {
        Some(Source::Media(media)) => FieldSource::Media { encoder: media.encoder },
        Some(Source::Text(text)) => FieldSource::Text { encoder: text.encoder, names: text.names },
        Some(Source::Vector(vector)) => FieldSource::Vector { dimension: vector.dimension, space: vector.space },
        None => {
            return Err(Error::invalid(
                "field.source",
                format!("field {:?} needs a source: media, text or vector", field.name),
            ));
        }
    };
    Ok(FieldSpec { name: field.name, source })
}

pub(in crate::rpc) fn originals_from_proto(originals: v1::MediaOriginals) -> MediaOriginals {
    match originals {
        v1::MediaOriginals::Unspecified | v1::MediaOriginals::Keep => MediaOriginals::Keep,
        v1::MediaOriginals::Thumbnail => MediaOriginals::Thumbnail,
        v1::MediaOriginals::None => MediaOriginals::None,
    }
}

fn originals_to_proto(originals: MediaOriginals) -> v1::MediaOriginals {
    match originals {
        MediaOriginals::Keep => v1::MediaOriginals::Keep,
        MediaOriginals::Thumbnail => v1::MediaOriginals::Thumbnail,
        MediaOriginals::None => v1::MediaOriginals::None,
    }
}

pub(in crate::rpc) fn expiry_from_proto(expiry: &v1::Expiry) -> Result<Expiry> {
    let path = path_from_proto(&expiry.path).map_err(|error| error.within("expiry"))?;
    Ok(Expiry { path, after_seconds: expiry.after_seconds })
}

fn expiry_to_proto(expiry: &Expiry) -> v1::Expiry {
    v1::Expiry { path: expiry.path.to_string(), after_seconds: expiry.after_seconds }
}

pub(in crate::rpc) fn collection_to_proto(info: CollectionInfo) -> v1::Collection {
    let (stats, state, problem) = match &info.backend {
        Ok(backend) => (backend.stats(), v1::CollectionState::Ready, String::new()),
        Err(error) => (BackendStats::default(), v1::CollectionState::Broken, error.to_string()),
    };
    let described = v1::Collection {
        name: info.name,
        aliases: info.aliases,
        items: stats.items,
        version: stats.version,
        state: state as i32,
        problem,
        ..Default::default()
    };
    let Some(schema) = info.schema else { return described };
    v1::Collection {
        uid: schema.uid.clone(),
        fields: schema.fields.iter().map(|field| field_to_proto(field, &stats)).collect(),
        media_originals: originals_to_proto(schema.media_originals) as i32,
        default_field: schema.default_field.clone(),
        created: Some(timestamp_to_proto(schema.created)),
        payload_indexes: stats.payload_indexes.into_iter().map(payload_index_to_proto).collect(),
        expiry: schema.expiry.as_ref().map(expiry_to_proto),
        ..described
    }
}

fn field_to_proto(field: &Field, stats: &BackendStats) -> v1::FieldInfo {
    let source = match field.source.clone() {
        FieldSource::Media { encoder } => Source::Media(v1::MediaSource { encoder }),
        FieldSource::Text { encoder, names } => Source::Text(v1::TextSource { encoder, names }),
        FieldSource::Vector { dimension, space } => Source::Vector(v1::VectorSource { dimension, space }),
    };
    let generation = |generation: &crate::collection::schema::Generation| v1::Generation {
        number: generation.number,
        encoder: generation.encoder.clone(),
        space: generation.space.clone(),
        dimension: generation.dimension,
        state: match generation.state {
            GenerationState::Building => v1::GenerationState::Building,
            GenerationState::Ready => v1::GenerationState::Ready,
            GenerationState::Current => v1::GenerationState::Current,
            GenerationState::Retired => v1::GenerationState::Retired,
        } as i32,
        vectors: stats.vectors.get(&(field.name.clone(), generation.number)).copied().unwrap_or(0),
        fingerprint: generation.fingerprint.clone(),
        query_encoder: generation.query_encoder.clone(),
        composer: generation.composer.clone(),
    };
    v1::FieldInfo {
        spec: Some(v1::FieldSpec { name: field.name.clone(), source: Some(source) }),
        generations: field.generations.iter().map(generation).collect(),
    }
}
