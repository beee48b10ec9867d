//! All collections of a store, and their aliases.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::catalog_entry::{AliasChange, CollectionInfo, GenerationChange, GenerationChanged, NewCollection, NewField};
use super::local::{FilledPage, RecordCache, SegmentSettings, audit_scope, remove_half_written, remove_leftovers};
use super::schema::{CollectionSchema, PayloadIndex, PayloadIndexState};
use super::{CollectionBackend, Expiry, LocalCollection};
use crate::fail_point::fail_point;
use crate::store::{AuditReport, Counters, Snapshot, Store, audit};
use crate::types::limits::COLLECTIONS;
use crate::types::names::check_name;
use crate::types::payload_index::PayloadIndexSpec;
use crate::{Error, Result};

/// How a catalog runs its collections.
#[derive(Clone)]
pub struct CatalogSettings {
    /// Large searches are split over these threads; without them each runs on its own thread.
    pub search_pool: Option<Arc<rayon::ThreadPool>>,
    pub segments: SegmentSettings,
    /// What records of items that were lately found may take, of all collections together; 0 keeps none.
    pub record_bytes: u64,
}

impl Default for CatalogSettings {
    fn default() -> Self {
        Self { search_pool: None, segments: SegmentSettings::default(), record_bytes: 8 << 20 }
    }
}

impl CatalogSettings {
    /// Splits searches, and the making of segments, over so many threads.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system starts no more threads.
    pub fn with_threads(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.thread_name(|number| format!("search-{number}")).build();
        let pool = pool.map_err(|error| Error::Internal(format!("the search threads cannot be started: {error}")))?;
        Ok(Self { search_pool: Some(Arc::new(pool)), ..Self::default() })
    }
}

/// All collections of a store. Every call but [`Catalog::resolve`], [`Catalog::list`] and [`Catalog::aliases`] blocks.
pub struct Catalog {
    store: Store,
    settings: CatalogSettings,
    records: RecordCache,
    /// Held by the one who changes the catalog.
    change: Mutex<()>,
    entries: RwLock<Entries>,
}

#[derive(Default)]
struct Entries {
    collections: BTreeMap<String, Entry>,
    /// Collections' names by alias.
    aliases: BTreeMap<String, String>,
}

#[derive(Clone)]
struct Entry {
    id: u32,
    schema: Option<Arc<CollectionSchema>>,
    backend: Result<Arc<LocalCollection>>,
}

impl Catalog {
    /// Opens every collection of the store. One that cannot be opened is kept as broken and does not stop the others.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`] if the list of collections itself cannot be read.
    pub fn open(store: Store, settings: CatalogSettings) -> Result<Self> {
        let mut entries = Entries::default();
        let records = RecordCache::new(settings.record_bytes);
        let mut names = BTreeMap::new();
        remove_undrawn_vectors(&store)?;
        {
            let snapshot = store.snapshot();
            let schemas = snapshot.schemas()?;
            remove_half_written(store.folder());
            remove_unused_segments(&store, &schemas);
            for (id, json) in schemas {
                let (name, entry) = open_entry((&store, &snapshot), &settings, &records, id, &json);
                names.insert(id, name.clone());
                entries.collections.insert(name, entry);
            }
            for (alias, id) in snapshot.aliases()? {
                match names.get(&id) {
                    Some(name) => drop(entries.aliases.insert(alias, name.clone())),
                    None => tracing::warn!(alias, id, "an alias names no collection"),
                }
            }
        }
        Ok(Self { store, settings, records, change: Mutex::new(()), entries: RwLock::new(entries) })
    }

    /// The store that holds the collections.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The collection of this name or alias.
    ///
    /// # Errors
    /// [`Error::NotFound`]; the error that broke the collection.
    pub fn resolve(&self, name: &str) -> Result<Arc<dyn CollectionBackend>> {
        Ok(self.resolve_local(name)?)
    }

    /// As [`Catalog::resolve`], with what only a local collection can do.
    ///
    /// # Errors
    /// As [`Catalog::resolve`].
    pub fn resolve_local(&self, name: &str) -> Result<Arc<LocalCollection>> {
        self.get(name)?.backend
    }

    /// Describes the collection of this name or alias, broken or not.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn get(&self, name: &str) -> Result<CollectionInfo> {
        let entries = self.entries.read();
        let target = entries.aliases.get(name).map_or(name, String::as_str);
        match entries.collections.get(target) {
            Some(entry) => Ok(entries.info(target, entry)),
            None => Err(not_found(name)),
        }
    }

    /// Describes every collection, by name.
    #[must_use]
    pub fn list(&self) -> Vec<CollectionInfo> {
        let entries = self.entries.read();
        entries.collections.iter().map(|(name, entry)| entries.info(name, entry)).collect()
    }

    /// Checks everything stored of a collection, broken or not; if it is open, also its index. Writers wait meanwhile.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Corruption`], [`Error::Storage`] if the check cannot go on.
    pub fn verify(&self, name: &str) -> Result<AuditReport> {
        let info = self.get(name)?;
        match (info.backend, info.schema) {
            (Ok(backend), _) => backend.verify(),
            (Err(_), Some(schema)) => audit(&self.store.snapshot(), &audit_scope(&schema)),
            (Err(error), None) => Err(error),
        }
    }

    /// Collections' names by alias.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, String> {
        self.entries.read().aliases.clone()
    }

    /// Creates an empty collection; durable on return.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] also for an alias of that name; [`Error::InvalidArgument`], [`Error::LimitExceeded`].
    pub fn create(&self, new: NewCollection) -> Result<CollectionInfo> {
        check_name("name", &new.name)?;
        let _one_change = self.change.lock();
        self.check_free(&new.name)?;
        COLLECTIONS.check("collections", self.entries.read().collections.len() + 1)?;
        // A first look, so that a bad request draws no number.
        new.clone().into_schema(0)?;
        let schema = new.into_schema(self.store.next_collection_id()?)?;
        let mut batch = self.store.batch();
        batch.put_schema(schema.id, &to_json(&schema)?);
        batch.put_counters(schema.id, Counters { version: 0, next_internal: 1 });
        self.store.commit(batch)?;
        self.store.sync()?;
        let (id, name, kept) = (schema.id, schema.name.clone(), Arc::new(schema.clone()));
        let backend =
            LocalCollection::open((&self.store, &self.store.snapshot()), schema, &self.settings, &self.records)?;
        let backend = Arc::new(backend);
        self.entries.write().collections.insert(name.clone(), Entry { id, schema: Some(kept), backend: Ok(backend) });
        self.get(&name)
    }

    /// Removes a collection with its aliases; returns how many items it had. Readers that hold it find it gone.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FailedPrecondition`] with `IS_ALIAS` for an alias.
    pub fn drop_collection(&self, name: &str) -> Result<u64> {
        let _one_change = self.change.lock();
        let entry = self.own_entry(name)?;
        let aliases: Vec<String> = self.aliases_of(name);
        let mut batch = self.store.batch();
        batch.delete_collection(entry.id);
        aliases.iter().for_each(|alias| batch.delete_alias(alias));
        let items = match &entry.backend {
            Ok(backend) => backend.drop_with(batch)?,
            Err(_) => {
                self.store.commit(batch)?;
                0
            }
        };
        {
            let mut entries = self.entries.write();
            entries.collections.remove(name);
            aliases.iter().for_each(|alias| drop(entries.aliases.remove(alias)));
        }
        self.store.sync()?;
        self.remove_unused_segments()?;
        Ok(items)
    }

    /// Adds a field; durable on return. With `job` its first generation is building until the job has filled it; a job may ask
    /// again.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `COLLECTION_NOT_EMPTY` if there are items to encode and no job is named;
    /// [`Error::AlreadyExists`], [`Error::NotFound`], [`Error::InvalidArgument`], [`Error::LimitExceeded`].
    pub fn add_field(&self, collection: &str, field: NewField, job: &str) -> Result<CollectionInfo> {
        let _one_change = self.change.lock();
        self.resolve_local(collection)?.add_field(field, job)?;
        self.store.sync()?;
        self.get(collection)
    }

    /// Removes a field with its vectors; a dropped default field is followed by the first that is left.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn drop_field(&self, collection: &str, field: &str) -> Result<CollectionInfo> {
        let _one_change = self.change.lock();
        self.resolve_local(collection)?.drop_field(field)?;
        self.store.sync()?;
        self.remove_unused_segments()?;
        self.get(collection)
    }

    /// Adds an index on payloads; durable on return. It is ready at once if there are no items, else `job` fills it; a job may ask again.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `COLLECTION_NOT_EMPTY` if there are items and no job is named; [`Error::AlreadyExists`],
    /// [`Error::NotFound`], [`Error::LimitExceeded`].
    pub fn create_payload_index(&self, collection: &str, spec: &PayloadIndexSpec, job: &str) -> Result<PayloadIndex> {
        let _one_change = self.change.lock();
        let index = self.resolve_local(collection)?.add_payload_index(spec, job)?;
        self.store.sync()?;
        Ok(index)
    }

    /// Fills an index with the next items, from where the page before ended; 0 is the start.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was dropped; those of the store.
    pub fn fill_payload_index(&self, collection: &str, index: u32, from: u64) -> Result<FilledPage> {
        self.resolve_local(collection)?.fill_payload_index(index, from)
    }

    /// Lets filters use an index that is filled; durable on return.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was dropped; those of the store.
    pub fn complete_payload_index(&self, collection: &str, index: u32) -> Result<()> {
        let _one_change = self.change.lock();
        // The entries first: they were written without waiting for the disk.
        self.store.sync()?;
        self.resolve_local(collection)?.complete_payload_index(index)?;
        self.store.sync()
    }

    /// Removes an index on payloads; durable on return.
    ///
    /// # Errors
    /// [`Error::NotFound`]; those of the store.
    pub fn drop_payload_index(&self, collection: &str, spec: &PayloadIndexSpec) -> Result<PayloadIndex> {
        let _one_change = self.change.lock();
        let dropped = self.resolve_local(collection)?.drop_payload_index(spec)?;
        self.store.sync()?;
        Ok(dropped)
    }

    /// Removes the index that a job has added and not completed, if there is one.
    ///
    /// # Errors
    /// Those of the store.
    pub fn drop_unfinished_payload_index(&self, collection: &str, spec: &PayloadIndexSpec, job: &str) -> Result<()> {
        let schema = self.resolve(collection)?.schema();
        let is_unfinished = |index: &&PayloadIndex| {
            index.spec == *spec && index.job == job && index.state == PayloadIndexState::Building
        };
        match schema.payload_indexes.iter().find(is_unfinished) {
            Some(_) => self.drop_payload_index(collection, spec).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Says when items of a collection end by themselves; durable on return.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FailedPrecondition`] with `NO_PAYLOAD_INDEX` if there is no complete time index of the path.
    pub fn set_expiry(&self, collection: &str, expiry: Option<Expiry>) -> Result<CollectionInfo> {
        let _one_change = self.change.lock();
        self.resolve_local(collection)?.set_expiry(expiry)?;
        self.store.sync()?;
        self.get(collection)
    }

    /// Changes the generations of a field; durable on return. What is dropped leaves the disk at once.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FailedPrecondition`] with `GENERATION_IS_BUILDING`, `GENERATION_IS_CURRENT` or
    /// `FIELD_WITHOUT_ENCODER`; [`Error::LimitExceeded`].
    pub fn change_generation(
        &self,
        collection: &str,
        field: &str,
        change: &GenerationChange,
    ) -> Result<GenerationChanged> {
        let changed = {
            let _one_change = self.change.lock();
            fail_point("generation.before");
            let changed = self.resolve_local(collection)?.change_generation(field, change)?;
            fail_point("generation.after");
            self.store.sync()?;
            changed
        };
        // Others may change the catalog meanwhile: a generation's number is not used again.
        if matches!(change, GenerationChange::Drop(_)) {
            let (collection, field) = changed.keys;
            self.remove_unused_segments()?;
            self.store.compact_generation(collection, field, changed.number)?;
        }
        Ok(changed)
    }

    /// Applies all changes in their order, or none.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing collection or an alias to remove that is not there; [`Error::AlreadyExists`] if a
    /// collection has the alias's name; [`Error::InvalidArgument`].
    pub fn update_aliases(&self, changes: &[AliasChange]) -> Result<()> {
        let _one_change = self.change.lock();
        let mut aliases = self.aliases();
        let mut batch = self.store.batch();
        for AliasChange { alias, collection } in changes {
            check_name("alias", alias)?;
            match collection {
                Some(collection) => {
                    if self.entries.read().collections.contains_key(alias) {
                        return Err(Error::AlreadyExists { kind: "collection", name: alias.clone() });
                    }
                    batch.put_alias(alias, self.own_entry(collection)?.id);
                    aliases.insert(alias.clone(), collection.clone());
                }
                None => {
                    let missing = || Error::NotFound { kind: "alias", name: alias.clone() };
                    aliases.remove(alias).ok_or_else(missing)?;
                    batch.delete_alias(alias);
                }
            }
        }
        self.store.commit(batch)?;
        self.entries.write().aliases = aliases;
        self.store.sync()
    }

    fn remove_unused_segments(&self) -> Result<()> {
        remove_unused_segments(&self.store, &self.store.snapshot().schemas()?);
        Ok(())
    }

    fn check_free(&self, name: &str) -> Result<()> {
        let entries = self.entries.read();
        let name = || name.to_owned();
        if entries.collections.contains_key(&name()) {
            return Err(Error::AlreadyExists { kind: "collection", name: name() });
        }
        match entries.aliases.contains_key(&name()) {
            true => Err(Error::AlreadyExists { kind: "alias", name: name() }),
            false => Ok(()),
        }
    }

    /// The entry of a collection that must be called by its own name.
    fn own_entry(&self, name: &str) -> Result<Entry> {
        let entries = self.entries.read();
        if let Some(target) = entries.aliases.get(name) {
            return Err(Error::FailedPrecondition {
                reason: "IS_ALIAS",
                message: format!("{name:?} is an alias of the collection {target:?}; name the collection itself"),
            });
        }
        entries.collections.get(name).cloned().ok_or_else(|| not_found(name))
    }

    fn aliases_of(&self, name: &str) -> Vec<String> {
        self.entries.read().aliases_of(name)
    }
}

impl Entries {
    fn info(&self, name: &str, entry: &Entry) -> CollectionInfo {
        let schema = match &entry.backend {
            Ok(backend) => Some(backend.schema()),
            Err(_) => entry.schema.clone(),
        };
        let (name, aliases) = (name.to_owned(), self.aliases_of(name));
        CollectionInfo { name, schema, aliases, backend: entry.backend.clone() }
    }

    fn aliases_of(&self, name: &str) -> Vec<String> {
        let of_name = self.aliases.iter().filter(|(_, target)| *target == name);
        of_name.map(|(alias, _)| alias.clone()).collect()
    }
}

/// Removes vectors of bulk writes that did not come to their end. A collection that cannot be read keeps its own.
fn remove_undrawn_vectors(store: &Store) -> Result<()> {
    let snapshot = store.snapshot();
    for (id, json) in snapshot.schemas()? {
        let (Ok(schema), Ok(counters)) = (serde_json::from_slice::<CollectionSchema>(&json), snapshot.counters(id))
        else {
            continue;
        };
        for field in &schema.fields {
            for generation in &field.generations {
                if store.remove_undrawn_vectors(id, (field.id, generation.number), counters.next_internal)? {
                    tracing::info!(
                        collection = schema.name,
                        field = field.name,
                        "vectors of an unfinished bulk write are removed"
                    );
                }
            }
        }
    }
    Ok(())
}

/// Removes segments of what was dropped. A collection that cannot be read keeps its own.
fn remove_unused_segments(store: &Store, schemas: &[(u32, Box<[u8]>)]) {
    let read = |json: &[u8]| serde_json::from_slice::<CollectionSchema>(json).ok();
    let schemas: BTreeMap<u32, Option<CollectionSchema>> = schemas.iter().map(|(id, json)| (*id, read(json))).collect();
    remove_leftovers(store.folder(), |collection, (field, generation)| match schemas.get(&collection) {
        Some(Some(schema)) => schema.field_of(field, generation).is_some(),
        Some(None) => true,
        None => false,
    });
}

fn open_entry(
    store: (&Store, &Snapshot<'_>),
    settings: &CatalogSettings,
    records: &RecordCache,
    id: u32,
    json: &[u8],
) -> (String, Entry) {
    let schema: CollectionSchema = match serde_json::from_slice(json) {
        Ok(schema) => schema,
        Err(error) => {
            let error = Error::Corruption(format!("the description of collection number {id}: {error}"));
            tracing::error!(id, %error, "a collection is broken");
            return (format!("?{id}"), Entry { id, schema: None, backend: Err(error) });
        }
    };
    let (name, kept) = (schema.name.clone(), Arc::new(schema.clone()));
    let backend = LocalCollection::open(store, schema, settings, records).map(Arc::new);
    if let Err(error) = &backend {
        tracing::error!(name, %error, "a collection is broken");
    }
    (name, Entry { id, schema: Some(kept), backend })
}

/// A description as it is stored.
pub(super) fn to_json(schema: &CollectionSchema) -> Result<Vec<u8>> {
    serde_json::to_vec(schema).map_err(|error| Error::Internal(format!("cannot write a schema as JSON: {error}")))
}

fn not_found(name: &str) -> Error {
    Error::NotFound { kind: "collection", name: name.to_owned() }
}
