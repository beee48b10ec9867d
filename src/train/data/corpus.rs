//! The items of a frozen store that a run learns from and is measured on.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use rand::seq::SliceRandom as _;

use super::captions::{CaptionMix, Captions, value_at};
use super::split::{Disjoint, Split};
use super::triplets::{self, Triplets};
use crate::collection::schema::{CollectionSchema, MediaOriginals};
use crate::store::{ItemRecord, Store, VectorSlot};
use crate::train::piece;
use crate::train::random::random_for;
use crate::train::recipe::{Recipe, table};
use crate::types::filter::{Filter, Mismatches, matches, parse};
use crate::types::value::{Payload, Value};
use crate::{Error, Result};

/// One item of the corpus.
#[derive(Clone, Debug)]
pub struct Example {
    pub id: String,
    internal: u64,
    /// The first picture's BLAKE3, if the item has one whose bytes are kept.
    picture: Option<[u8; 32]>,
    /// Texts by source of the recipe.
    pub captions: Captions,
    /// Number of the thing shown, below [`Corpus::n_concepts`].
    pub concept: usize,
    /// Number of whose drawing it is.
    pub domain: usize,
    pub split: Split,
    /// True if the run may learn from it.
    pub is_trained: bool,
    /// True if a mirrored picture still shows the same thing.
    pub is_flippable: bool,
    /// The number of its value for each of [`Corpus::attributes`]; `None` where the payload holds none.
    pub attributes: Vec<Option<usize>>,
    pub(super) payload: Payload,
    slots: Vec<VectorSlot>,
}

impl Example {
    /// True if both show the same picture, to the byte.
    #[must_use]
    pub fn shows_the_same_as(&self, other: &Self) -> bool {
        self.picture.is_some() && self.picture == other.picture
    }

    #[must_use]
    pub const fn has_picture(&self) -> bool {
        self.picture.is_some()
    }
}

/// Items in the order of their internal ids, which is the order in which they were first written.
pub struct Corpus {
    store: Store,
    schema: CollectionSchema,
    pub examples: Vec<Example>,
    /// What the concepts are called.
    pub concepts: Vec<String>,
    /// The values that each attribute of the recipe has, by its number.
    pub attributes: Vec<Vec<String>>,
    pub mix: CaptionMix,
    /// Composed queries, if the recipe has some.
    pub triplets: Option<Triplets>,
    /// The newest write of the collection that the corpus has seen.
    pub version: u64,
    /// BLAKE3 over ids, pictures, texts and splits: two runs with equal digests saw the same.
    pub digest: String,
}

impl Corpus {
    /// Reads the items that the recipe asks for.
    ///
    /// # Errors
    /// `NotFound` for the collection, `InvalidArgument` for the recipe's paths and filters, `FailedPrecondition` if there is
    /// nothing to train on, originals are missing, or the split leaks.
    pub fn read(store: &Store, recipe: &Recipe) -> Result<Self> {
        let snapshot = store.snapshot();
        let schema = schema_of(store, &recipe.corpus.collection)?;
        let filter = filter_of("recipe.corpus.filter", &recipe.corpus.filter)?;
        let train_filter = filter_of("recipe.corpus.train_filter", &recipe.corpus.train_filter)?;
        let mix = CaptionMix::new(&recipe.captions);
        let mut reader = Reader::new(recipe, &mix);
        let (mut examples, mut disjoint, mut n_without_originals) = (Vec::new(), Disjoint::default(), 0);
        for entry in snapshot.scan_records(schema.id) {
            let (internal, record) = entry?;
            if !passes(filter.as_ref(), &record.head.payload) {
                continue;
            }
            let (mut example, family) = reader.example(internal, record)?;
            n_without_originals += usize::from(example.picture.is_some_and(|_| {
                schema.media_originals == MediaOriginals::Thumbnail && !recipe.corpus.allow_thumbnails
            }));
            disjoint.note("concept", reader.concepts.name(example.concept), example.split)?;
            disjoint.note("family", &family, example.split)?;
            example.is_trained = example.split == Split::Train && passes(train_filter.as_ref(), &example.payload);
            examples.push(example);
        }
        if n_without_originals > 0 {
            return Err(Error::FailedPrecondition {
                reason: "ORIGINALS_MISSING",
                message: format!(
                    "{n_without_originals} items keep only a thumbnail of their picture; set corpus.allow_thumbnails to train on those"
                ),
            });
        }
        if recipe.captions.shuffled {
            shuffle_captions(&mut examples, recipe.seed);
        }
        let version = snapshot.counters(schema.id)?.version;
        let concepts = reader.concepts.names;
        let attributes = reader.attributes.into_iter().map(|values| values.names).collect();
        drop(snapshot);
        let (triplets, digest) = (None, String::new());
        let mut corpus =
            Self { store: store.clone(), schema, examples, concepts, attributes, mix, triplets, version, digest };
        if let Some(settings) = &recipe.triplets {
            let source = piece::build(triplets::ALL, "kind", table("triplets", settings))?;
            let mut read = source.read(&corpus)?;
            read.keep_trained(&corpus);
            corpus.triplets = Some(read);
        }
        corpus.digest = digest_of(&corpus);
        if corpus.trained().next().is_none() {
            return Err(Error::FailedPrecondition {
                reason: "NOTHING_TO_TRAIN_ON",
                message: format!(
                    "collection {:?} has {} items behind the recipe's filter, none of them in the training split",
                    corpus.schema.name,
                    corpus.examples.len()
                ),
            });
        }
        Ok(corpus)
    }

    /// Takes items out of training that lack what the views show.
    ///
    /// # Errors
    /// `FailedPrecondition` if nothing is left.
    pub fn keep_usable(&mut self, needs_picture: bool, needs_text: bool) -> Result<()> {
        for example in &mut self.examples {
            let has_text = example.captions.iter().any(|texts| !texts.is_empty());
            example.is_trained &= (example.has_picture() || !needs_picture) && (has_text || !needs_text);
        }
        if self.trained().next().is_some() {
            return Ok(());
        }
        let needs = match (needs_picture, needs_text) {
            (true, true) => "a picture and a text",
            (true, false) => "a picture",
            _ => "a text",
        };
        let message = format!("no item of the training split has {needs}, which recipe.views show");
        Err(Error::FailedPrecondition { reason: "NOTHING_TO_TRAIN_ON", message })
    }

    /// A number for each example's picture, the same for pictures that are alike to the byte.
    #[must_use]
    pub fn picture_numbers(&self, numbers: &[usize]) -> Vec<usize> {
        let mut known: HashMap<Option<[u8; 32]>, usize> = HashMap::new();
        let number_of = |&number: &usize| {
            let next = known.len();
            *known.entry(self.examples[number].picture).or_insert(next)
        };
        numbers.iter().map(number_of).collect()
    }

    #[must_use]
    pub fn n_concepts(&self) -> usize {
        self.concepts.len()
    }

    /// Numbers of the examples that the run may learn from.
    pub fn trained(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.examples.len()).filter(|&number| self.examples[number].is_trained)
    }

    /// Numbers of the examples that a filter accepts.
    ///
    /// # Errors
    /// `InvalidArgument` for `place` if the filter does not parse.
    pub fn matching(&self, place: &str, filter: &str) -> Result<Vec<usize>> {
        let filter = filter_of(place, filter)?;
        let passing = |number: &usize| passes(filter.as_ref(), &self.examples[*number].payload);
        Ok((0..self.examples.len()).filter(passing).collect())
    }

    /// What an example's payload holds at a path.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no path.
    pub fn value(&self, number: usize, path: &str) -> Result<Option<&Value>> {
        value_at(&self.examples[number].payload, path)
    }

    /// The bytes of an example's first picture.
    ///
    /// # Errors
    /// `Corruption` if the store has lost them, `Storage`.
    pub fn picture(&self, number: usize) -> Result<Bytes> {
        let example = &self.examples[number];
        let missing = || Error::Corruption(format!("item {:?} has lost its picture", example.id));
        let hash = example.picture.as_ref().ok_or_else(missing)?;
        self.store.snapshot().media(self.schema.id, hash)?.ok_or_else(missing)
    }

    /// The stored vectors of a field's current generation, each item's first; `None` where an item has none. Beside them the
    /// generation's encoder and space.
    ///
    /// # Errors
    /// `NotFound` for the field, `Storage`, `Corruption`.
    pub fn stored_vectors(&self, field: &str, numbers: &[usize]) -> Result<StoredVectors> {
        let field = self.schema.field(field)?;
        let generation = field.current()?;
        let slot_of = |number: &usize| {
            let example = &self.examples[*number];
            let is_of = |slot: &&VectorSlot| slot.field == field.id && slot.generation == generation.number;
            example.slots.iter().find(is_of).map(|slot| (example.internal, *slot))
        };
        let slots: Vec<_> = numbers.iter().map(slot_of).collect();
        let present: Vec<_> = slots.iter().flatten().copied().collect();
        let mut found = self.store.snapshot().vectors(self.schema.id, &present)?.into_iter();
        let vectors = slots.iter().map(|slot| slot.and_then(|_| found.next().flatten()).map(|v| v.values)).collect();
        Ok(StoredVectors {
            vectors,
            dimension: generation.dimension as usize,
            encoder: generation.encoder.clone(),
            space: generation.space.clone(),
        })
    }
}

/// Vectors of one generation.
pub struct StoredVectors {
    pub vectors: Vec<Option<Vec<f32>>>,
    pub dimension: usize,
    pub encoder: String,
    pub space: String,
}

struct Reader<'r> {
    recipe: &'r Recipe,
    mix: &'r CaptionMix,
    concepts: Numbers,
    domains: Numbers,
    /// One for each attribute of the recipe.
    attributes: Vec<Numbers>,
}

impl<'r> Reader<'r> {
    fn new(recipe: &'r Recipe, mix: &'r CaptionMix) -> Self {
        let attributes = recipe.corpus.attributes.iter().map(|_| Numbers::default()).collect();
        Self { recipe, mix, concepts: Numbers::default(), domains: Numbers::default(), attributes }
    }

    /// The example and its family.
    fn example(&mut self, internal: u64, record: ItemRecord) -> Result<(Example, String)> {
        let (recipe, split) = (&self.recipe.corpus, &self.recipe.split);
        let payload = &record.head.payload;
        let id = record.head.id.to_string();
        let captions = self.mix.read(&record)?;
        let concept = match &recipe.concept {
            Some(path) => word_at(payload, path, &id)?,
            None if captions.iter().any(|texts| !texts.is_empty()) => format!("{captions:?}"),
            None => id.clone(),
        };
        let domain = match &recipe.domain {
            Some(path) => word_at(payload, path, &id)?,
            None => String::new(),
        };
        let family = match &split.family {
            Some(path) => word_at(payload, path, &id)?,
            None => concept.clone(),
        };
        let side = match &split.key {
            Some(path) => Split::parse(&format!("payload.{path} of {id:?}"), &word_at(payload, path, &id)?)?,
            None => Split::of_family(split, &family),
        };
        let is_flippable = match &recipe.flippable {
            Some(path) => !matches!(value_at(payload, path)?, Some(Value::Bool(false))),
            None => true,
        };
        let mut attributes = Vec::with_capacity(recipe.attributes.len());
        for (path, values) in recipe.attributes.iter().zip(&mut self.attributes) {
            let is_said = value_at(payload, path)?.is_some();
            attributes.push(is_said.then(|| word_at(payload, path, &id)).transpose()?.map(|word| values.number(word)));
        }
        let picture = record.media.first().filter(|media| media.is_kept).map(|media| media.info.hash);
        let (concept, domain) = (self.concepts.number(concept), self.domains.number(domain));
        let (payload, slots) = (record.head.payload, record.vectors);
        let example = Example {
            id,
            internal,
            picture,
            captions,
            concept,
            domain,
            split: side,
            is_trained: false,
            is_flippable,
            attributes,
            payload,
            slots,
        };
        Ok((example, family))
    }
}

/// Numbers words in the order in which they come.
#[derive(Default)]
struct Numbers {
    numbers: HashMap<String, usize>,
    names: Vec<String>,
}

impl Numbers {
    fn number(&mut self, name: String) -> usize {
        let next = self.names.len();
        *self.numbers.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            next
        })
    }

    fn name(&self, number: usize) -> &str {
        &self.names[number]
    }
}

fn word_at(payload: &Payload, path: &str, id: &str) -> Result<String> {
    match value_at(payload, path)? {
        Some(Value::String(word)) => Ok(word.clone()),
        Some(Value::Int(number)) => Ok(number.to_string()),
        Some(Value::Bool(is)) => Ok(is.to_string()),
        found => {
            let found = found.map_or("nothing", Value::type_name);
            Err(Error::invalid(format!("payload.{path}"), format!("item {id:?} holds {found}, expected a word")))
        }
    }
}

fn schema_of(store: &Store, name: &str) -> Result<CollectionSchema> {
    let snapshot = store.snapshot();
    let alias = snapshot.aliases()?.get(name).copied();
    let mut known = Vec::new();
    for (id, json) in snapshot.schemas()? {
        let schema: CollectionSchema = serde_json::from_slice(&json)
            .map_err(|error| Error::Corruption(format!("the description of collection {id}: {error}")))?;
        if schema.name == name || alias == Some(id) {
            return Ok(schema);
        }
        known.push(schema.name);
    }
    Err(Error::NotFound { kind: "collection", name: format!("{name} (there are: {})", known.join(", ")) })
}

fn filter_of(place: &str, text: &str) -> Result<Option<Filter>> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).map_err(|error| Error::invalid(place, error.to_string()))
}

fn passes(filter: Option<&Filter>, payload: &Payload) -> bool {
    filter.is_none_or(|filter| matches(filter, payload, &mut Mismatches::default()))
}

/// Gives the texts of each trained concept to another, so that texts say nothing about pictures.
fn shuffle_captions(examples: &mut [Example], seed: u64) {
    let mut by_concept: BTreeMap<usize, Captions> = BTreeMap::new();
    for example in examples.iter().filter(|example| example.is_trained) {
        by_concept.entry(example.concept).or_insert_with(|| example.captions.clone());
    }
    let mut others: Vec<Captions> = by_concept.values().cloned().collect();
    others.shuffle(&mut random_for(seed, "shuffled captions", &[]));
    let exchanged: BTreeMap<usize, Captions> = by_concept.into_keys().zip(others).collect();
    for example in examples.iter_mut().filter(|example| example.is_trained) {
        example.captions.clone_from(&exchanged[&example.concept]);
    }
}

fn digest_of(corpus: &Corpus) -> String {
    let mut hasher = blake3::Hasher::new();
    for example in &corpus.examples {
        let Example { id, picture, captions, concept, domain, split, is_trained, attributes, .. } = example;
        let facts = format!(
            "{id:?} {picture:?} {captions:?} {:?} {domain} {split:?} {is_trained}\n",
            corpus.concepts[*concept]
        );
        hasher.update(facts.as_bytes());
        if !attributes.is_empty() {
            hasher.update(format!("{attributes:?}\n").as_bytes());
        }
    }
    if let Some(triplets) = &corpus.triplets {
        hasher.update(format!("{:?} {:?}", triplets.all, triplets.texts).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
