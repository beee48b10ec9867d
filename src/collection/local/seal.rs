//! Makes segments of what an index holds in its tail or in other segments, beside readers and writers.
//!
//! A segment holds what the index held at one moment. Writes that come while it is built are noted by the index and take precedence when
//! it is put in place, so that nobody ever sees an older state. Segments are a cache: what is damaged is put aside and built again.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::moment::Inner;
use super::segment_files::{files, folder, put_aside, remove};
use super::state::GenerationKey;
use crate::collection::schema::CollectionSchema;
use crate::fail_point::fail_point;
use crate::index::graph::{BuildSettings, Rows, Segment, SegmentWriter, builder};
use crate::index::{Growth, Sealed, SegmentPlan, SegmentedIndex, VectorIndex as _, VectorKey};
use crate::store::{Snapshot, VectorSlot};
use crate::{Error, Result};

/// Vectors that are read from the store at once.
const READ_AT_ONCE: usize = 1_024;

/// How segments are made.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentSettings {
    pub growth: Growth,
    /// By the name of its builder.
    pub builder: String,
    pub build: BuildSettings,
    /// The share of the true hits that searches find unless they ask otherwise, 0 to 1.
    pub recall: f32,
    /// A tail may hold what so many segments are made of; then writes are refused.
    pub tail_segments: usize,
    /// A segment is made of at most so many times what it is made of at least, so that it is done soon.
    pub chunk_segments: usize,
    /// Bytes that a tail may take, as long as it may hold twice what a segment is made of.
    pub tail_bytes: usize,
    /// When no bulk write has come for so long, what they wrote is indexed.
    pub bulk_pause: Duration,
    /// The pause after a segment could not be made, such as on a full disk.
    pub retry: Duration,
}

impl SegmentSettings {
    /// Vectors that one part of a tail holds, and a segment of it.
    pub(super) fn chunk(&self) -> usize {
        self.growth.seal_at.saturating_mul(self.chunk_segments)
    }
}

impl Default for SegmentSettings {
    fn default() -> Self {
        Self {
            growth: Growth::default(),
            builder: "insertion".to_owned(),
            build: BuildSettings::default(),
            recall: 0.99,
            tail_segments: 10,
            chunk_segments: 2,
            tail_bytes: 512 << 20,
            bulk_pause: Duration::from_secs(2),
            retry: Duration::from_secs(60),
        }
    }
}

/// A segment that is not in its place yet; none if nothing was left of what it was to be made of.
struct Built {
    segment: Option<Segment>,
    /// Vectors that the tail held.
    from_tail: usize,
}

/// What the next segment of an index is made of.
pub(super) enum Work {
    Planned(SegmentPlan),
    /// Planned because nobody writes; it makes way for a tail that somebody fills.
    Idle(SegmentPlan),
    /// Vectors of bulk writes, as the store has them.
    Deferred,
}

/// What an index waits for.
pub(super) enum Due {
    Now(GenerationKey, Work),
    /// Something, if nobody writes for so long.
    Later(Duration),
    Nothing,
}

impl Inner {
    /// What should be made of the collection's indexes, and when.
    pub(super) fn due(&self) -> Due {
        let growth = &self.segments.growth;
        let quiet = self.pressure.quiet();
        let is_idle = quiet >= growth.idle;
        let state = self.state.read();
        let due = |is_idle| state.indexes.iter().find_map(|(&key, index)| Some((key, index.due(growth, is_idle)?)));
        if let Some((key, plan)) = due(false) {
            return Due::Now(key, Work::Planned(plan));
        }
        if let Some((key, plan)) = due(true).filter(|_| is_idle) {
            return Due::Now(key, Work::Idle(plan));
        }
        let mut waits = state.indexes.iter().filter(|(_, index)| index.deferred_len() > 0 && !index.is_begun());
        let deferred =
            waits.next().map(|(&key, _)| (key, self.segments.bulk_pause.saturating_sub(self.pressure.bulk_quiet())));
        let idle = (!is_idle && due(true).is_some()).then(|| growth.idle - quiet);
        match (deferred, idle) {
            (Some((key, wait)), _) if wait.is_zero() => Due::Now(key, Work::Deferred),
            (Some((_, wait)), idle) => Due::Later(idle.map_or(wait, |idle| idle.min(wait))),
            (None, Some(idle)) => Due::Later(idle),
            (None, None) => Due::Nothing,
        }
    }

    /// True if some tail is long enough for a segment.
    pub(super) fn is_tail_due(&self) -> bool {
        self.state.read().indexes.values().any(|index| index.tail_len() >= self.segments.growth.seal_at)
    }

    /// Measures the walks of every generation, without keeping writers waiting: with the queries that are due, or with all that are
    /// known if a segment is new.
    pub(super) fn measure(&self) {
        let watched: Vec<_> = {
            let state = self.state.read();
            let of_index = |index: &SegmentedIndex| {
                let canary = Arc::clone(index.canary());
                let of_segment = |sealed: &Sealed| (Arc::clone(sealed.segment()), Arc::clone(sealed.watch()));
                (canary, index.segments().iter().map(of_segment).collect::<Vec<_>>())
            };
            state.indexes.values().map(of_index).collect()
        };
        for (canary, segments) in watched {
            let due = canary.take_due();
            for (segment, watch) in segments {
                let is_new = watch.self_retrieval().is_none();
                if !is_new && due.is_empty() {
                    continue;
                }
                let asked = if is_new { canary.known() } else { due.clone() };
                if let Err(error) = watch.measure(&segment, &asked) {
                    tracing::error!(%error, collection = self.id, "a segment cannot be measured");
                }
            }
        }
    }

    /// Makes a segment and puts it in place.
    ///
    /// # Errors
    /// [`Error::Cancelled`], also if the generation is dropped meanwhile; those of the store and of the disk; the index stays as it was. A damaged
    /// segment that it was to be made of is put aside.
    pub(super) fn seal(&self, key: GenerationKey, work: &Work, stop: &AtomicBool) -> Result<()> {
        let start = Instant::now();
        let outcome = self.build_segment(key, work, stop).and_then(|built| {
            self.publish(key, built.segment)?;
            Ok(built.from_tail)
        });
        match outcome {
            Ok(from_tail) => {
                // What waits for writers to be quiet says nothing of how fast they may be.
                if matches!(work, Work::Planned(_)) {
                    self.pressure.note_built(from_tail, start.elapsed());
                }
                self.measure();
                Ok(())
            }
            Err(error) => {
                if let Some(index) = self.state.write().indexes.get_mut(&key) {
                    index.abandon_segment();
                }
                match error {
                    Error::Corruption(_) if self.put_damaged_aside(key)? => Ok(()),
                    error => Err(error),
                }
            }
        }
    }

    fn build_segment(&self, key: GenerationKey, work: &Work, stop: &AtomicBool) -> Result<Built> {
        let (writer, from_tail) = match work {
            Work::Planned(plan) | Work::Idle(plan) => {
                let sources = {
                    let _no_writer = self.lock_writer()?;
                    self.state.write().indexes.get_mut(&key).ok_or(Error::Cancelled)?.begin_segment(plan)?;
                    // Searches go on while the vectors are copied.
                    self.state.read().indexes.get(&key).ok_or(Error::Cancelled)?.sources()?
                };
                let from_tail = sources.from_tail();
                (sources.collect()?, from_tail)
            }
            Work::Deferred => (self.collect_deferred(key)?, 0),
        };
        let Some(writer) = writer else { return Ok(Built { segment: None, from_tail }) };
        fail_point("seal.before_build");
        // What a segment holds must not be lost by the store later: numbers of items would be used again.
        self.store.sync()?;
        let segment = Some(self.write_segment(key, writer, stop)?);
        Ok(Built { segment, from_tail })
    }

    /// Reads the vectors that a segment of bulk writes begins with, which is as large as a tail might be.
    fn collect_deferred(&self, key: GenerationKey) -> Result<Option<SegmentWriter>> {
        let (keys, dimension, snapshot) = {
            let _no_writer = self.lock_writer()?;
            let mut state = self.state.write();
            let index = state.indexes.get_mut(&key).ok_or(Error::Cancelled)?;
            let limit = self.fitting(index.dimension()).max(self.segments.chunk());
            (index.begin_deferred(limit)?, index.dimension(), self.store.snapshot())
        };
        let mut writer = SegmentWriter::new(dimension, keys.len());
        for some in keys.chunks(READ_AT_ONCE) {
            for (key, vector) in some.iter().zip(self.vectors_at(&snapshot, key, some)?) {
                let lost = || Error::Corruption(format!("{key:?} is to be indexed but has no vector"));
                writer.push(*key, &vector.ok_or_else(lost)?);
            }
        }
        Ok(Some(writer).filter(|writer| !writer.is_empty()))
    }

    fn vectors_at(
        &self,
        snapshot: &Snapshot<'_>,
        (field, generation): GenerationKey,
        keys: &[VectorKey],
    ) -> Result<Vec<Option<Vec<f32>>>> {
        let slot = |key: &VectorKey| (key.item, VectorSlot { field, generation, part: key.part });
        let slots: Vec<_> = keys.iter().map(slot).collect();
        let vectors = snapshot.vectors(self.id, &slots)?;
        Ok(vectors.into_iter().map(|vector| vector.map(|vector| vector.values)).collect())
    }

    fn write_segment(&self, key: GenerationKey, writer: SegmentWriter, stop: &AtomicBool) -> Result<Segment> {
        self.store.check_room(writer.file_bytes(&self.segments.build))?;
        let folder = folder(self.store.folder());
        fs::create_dir_all(&folder).map_err(|error| Error::of_file("make", &folder, &error))?;
        // Also beyond what was put aside, which a later one shall not replace.
        let used = [".segment", ".damaged"].into_iter().flat_map(|ending| files(&folder, self.id, key, ending));
        let number = used.map(|(number, _)| number).max().unwrap_or(0) + 1;
        let path = folder.join(format!("{}-{}-{}-{number}.segment", self.id, key.0, key.1));
        let build = BuildSettings { threads: self.threads(), ..self.segments.build };
        let written = writer.write(&path, builder(&self.segments.builder)?, &build, stop)?;
        written.segment.verify()?;
        tracing::info!(
            collection = self.id,
            vectors = written.segment.n_keys(),
            repaired = written.repaired.lost,
            strays = written.repaired.strays.len(),
            "a segment was made"
        );
        fail_point("seal.before_publish");
        Ok(written.segment)
    }

    fn publish(&self, key: GenerationKey, segment: Option<Segment>) -> Result<()> {
        let path = segment.as_ref().map(|segment| segment.path().to_owned());
        let replaced = self.lock_writer().and_then(|_no_writer| {
            let mut state = self.state.write();
            state.indexes.get_mut(&key).ok_or(Error::Cancelled).and_then(|index| index.publish(segment))
        });
        match replaced {
            Ok(replaced) => {
                fail_point("seal.published");
                replaced.files().for_each(remove);
                Ok(())
            }
            Err(error) => {
                path.iter().for_each(|file| remove(file));
                Err(error)
            }
        }
    }

    /// Finds the damaged segments of a generation, takes their vectors from the store into the tail, and puts the files aside; true if there
    /// were any. Writers wait meanwhile.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn put_damaged_aside(&self, key: GenerationKey) -> Result<bool> {
        let _no_writer = self.lock_writer()?;
        let damaged: Vec<(Arc<Segment>, Error)> = {
            let state = self.state.read();
            let segments = state.indexes.get(&key).ok_or_else(gone)?.segments().iter();
            let damage = |sealed: &Sealed| Some((Arc::clone(sealed.segment()), sealed.segment().recheck().err()?));
            segments.filter_map(damage).collect()
        };
        for (segment, error) in &damaged {
            let file = segment.path();
            tracing::error!(%error, file = %file.display(), "a segment is damaged; its vectors are compared one by one until it is made again");
            let keys: Vec<VectorKey> = (0..segment.n_keys() as u32).map(|place| segment.key(place)).collect();
            let vectors = self.stored_vectors(key, &keys)?;
            let mut state = self.state.write();
            let index = state.indexes.get_mut(&key).ok_or_else(gone)?;
            index.abandon_segment();
            for key in index.take_out(segment) {
                let vector = vectors.get(&key);
                let lost = || Error::Corruption(format!("{key:?} is indexed but has no vector"));
                index.insert(&[(key, vector.ok_or_else(lost)?)]);
            }
            drop(state);
            put_aside(file);
            self.pressure.wake();
        }
        Ok(!damaged.is_empty())
    }

    fn stored_vectors(&self, generation: GenerationKey, keys: &[VectorKey]) -> Result<HashMap<VectorKey, Vec<f32>>> {
        let snapshot = self.store.snapshot();
        let mut found = HashMap::with_capacity(keys.len());
        for some in keys.chunks(READ_AT_ONCE) {
            let vectors = some.iter().zip(self.vectors_at(&snapshot, generation, some)?);
            found.extend(vectors.filter_map(|(key, vector)| Some((*key, vector?))));
        }
        Ok(found)
    }

    fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.current_num_threads())
    }
}

/// Refuses what an item's part cannot have as its vector.
pub(super) type CheckVector<'a> = dyn Fn(u64, u32, &[f32]) -> Result<()> + 'a;

/// The index of a generation as the store has it: what whole segments hold, and the rest in the tail.
///
/// # Errors
/// [`Error::Corruption`], [`Error::Storage`] of the store; a segment that cannot be used is put aside.
pub(super) fn open_index(
    snapshot: &Snapshot<'_>,
    store_folder: &Path,
    (schema, key, dimension): (&CollectionSchema, GenerationKey, usize),
    chunk: usize,
    pool: Option<&Arc<rayon::ThreadPool>>,
    check: &CheckVector<'_>,
) -> Result<SegmentedIndex> {
    let mut found = Vec::new();
    for (_, file) in files(&folder(store_folder), schema.id, key, ".segment") {
        // Every row is about to be compared with the store's, so all bytes are looked at here.
        match Segment::open(&file).and_then(|segment| segment.verify().map(|()| segment)) {
            Ok(segment) if segment.dimension() == dimension => found.push(segment),
            Ok(_) => remove(&file),
            Err(error) => {
                tracing::warn!(%error, file = %file.display(), "a segment cannot be used and is built again");
                put_aside(&file);
            }
        }
    }
    let mut index = SegmentedIndex::of_segments(dimension, found, chunk, pool.cloned());
    let mut rows = Rows::new(dimension, 1);
    for entry in snapshot.scan_vectors(schema.id, key.0, key.1) {
        let (item, part, vector) = entry?;
        check(item, part, &vector.values)?;
        index.confirm(VectorKey { item, part }, &vector.values, &mut rows);
    }
    index.prune().iter().for_each(|file| remove(file));
    Ok(index)
}

fn gone() -> Error {
    Error::Internal("a generation went away while its segment was built".to_owned())
}
