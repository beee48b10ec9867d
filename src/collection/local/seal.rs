//! Makes segments of what the index holds in its tail, beside readers and writers.
//!
//! A segment holds what the store held at one moment. Writes that come while it is built are noted by the index and take precedence when
//! it is put in place, so that nobody ever sees an older state. Segments are a cache: what is damaged is put aside and built again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::moment::Inner;
use super::state::GenerationKey;
use crate::collection::schema::CollectionSchema;
use crate::fail_point::fail_point;
use crate::index::graph::{BuildSettings, Rows, Segment, SegmentWriter, builder};
use crate::index::{SegmentedIndex, VectorIndex as _, VectorKey};
use crate::store::Snapshot;
use crate::{Error, Result};

/// A new segment is due when the tail is this part of what the segment holds.
const TAIL_SHARE: usize = 4;
/// The pause after a segment could not be made, such as on a full disk.
const RETRY: Duration = Duration::from_secs(60);

/// How segments are made.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentSettings {
    /// Vectors of a tail that a segment is made of.
    pub seal_at: usize,
    /// By the name of its builder.
    pub builder: String,
    pub build: BuildSettings,
    /// The share of the true hits that searches find unless they ask otherwise, 0 to 1.
    pub recall: f32,
}

impl Default for SegmentSettings {
    fn default() -> Self {
        Self { seal_at: 20_000, builder: "insertion".to_owned(), build: BuildSettings::default(), recall: 0.99 }
    }
}

/// Threads that look after the indexes of a collection; whoever drops the last handle of it waits for their end.
#[derive(Default)]
pub(super) struct Workers {
    stop: Arc<AtomicBool>,
    is_sealing: Arc<AtomicBool>,
    /// When a segment could last not be made.
    failed_at: Arc<Mutex<Option<Instant>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// Starts to make segments where they are due, and to measure walks with what was asked lately.
    pub(super) fn look_after(&self, inner: &Arc<Inner>) {
        let waits = self.failed_at.lock().is_some_and(|failed| failed.elapsed() < RETRY);
        if !waits && inner.due().is_some() && !self.is_sealing.swap(true, Ordering::SeqCst) {
            let busy = Busy(Arc::clone(&self.is_sealing));
            let (stop, failed_at) = (Arc::clone(&self.stop), Arc::clone(&self.failed_at));
            self.start("seal", inner, move |inner| {
                let _busy = busy;
                while let Some(key) = inner.due() {
                    match inner.seal(key, &stop) {
                        Ok(()) => {}
                        Err(Error::Cancelled) => break,
                        Err(error) => {
                            let collection = inner.id;
                            tracing::error!(%error, collection, "a segment could not be made; searches go on without it");
                            *failed_at.lock() = Some(Instant::now());
                            break;
                        }
                    }
                }
            });
        }
        if inner.is_measurement_due.swap(false, Ordering::Relaxed) {
            self.start("measure", inner, |inner| inner.measure());
        }
    }

    /// True while a segment is made or due.
    ///
    /// # Errors
    /// [`Error::Storage`] if one could not be made; the log says why.
    pub(super) fn is_sealing(&self, inner: &Inner) -> Result<bool> {
        let is_at_work = self.is_sealing.load(Ordering::SeqCst);
        match self.failed_at.lock().is_some() {
            true if !is_at_work => Err(Error::Storage("a segment could not be made; the log says why".to_owned())),
            _ => Ok(is_at_work || inner.due().is_some()),
        }
    }

    fn start(&self, name: &str, inner: &Arc<Inner>, work: impl FnOnce(&Inner) + Send + 'static) {
        let inner = Arc::clone(inner);
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&inner));
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(error) => tracing::error!(%error, name, "cannot start a thread that looks after an index"),
        }
    }
}

/// Says that nobody works any more, however the work has ended.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.get_mut().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that looked after an index has panicked");
            }
        }
    }
}

impl Inner {
    /// Measures the walks of every generation, without keeping writers waiting.
    fn measure(&self) {
        let watched: Vec<_> = {
            let state = self.state.read();
            let watched = |index: &SegmentedIndex| Some((Arc::clone(index.segment()?), Arc::clone(index.canary())));
            state.indexes.values().filter_map(watched).collect()
        };
        for (segment, canary) in watched {
            if let Err(error) = canary.measure(&segment) {
                tracing::error!(%error, collection = self.id, "a segment cannot be measured");
            }
        }
    }

    /// A generation whose tail is long enough.
    fn due(&self) -> Option<GenerationKey> {
        let state = self.state.read();
        let is_due = |index: &SegmentedIndex| {
            let tail = index.tail_len();
            tail >= self.segments.seal_at && tail * TAIL_SHARE >= index.len() - tail
        };
        state.indexes.iter().find(|(_, index)| is_due(index)).map(|(&key, _)| key)
    }

    /// Makes a segment of all that a generation holds, and puts it in place.
    ///
    /// # Errors
    /// [`Error::Cancelled`], those of the store and of the disk; the index stays as it was.
    pub(super) fn seal(&self, key: GenerationKey, stop: &AtomicBool) -> Result<()> {
        let outcome = self.build_segment(key, stop).and_then(|segment| self.publish(key, segment));
        if outcome.is_err()
            && let Some(index) = self.state.write().indexes.get_mut(&key)
        {
            index.abandon_segment();
        }
        outcome
    }

    fn build_segment(&self, key: GenerationKey, stop: &AtomicBool) -> Result<Segment> {
        let (mut writer, snapshot) = {
            let _no_writer = self.lock_writer()?;
            let mut state = self.state.write();
            let Some(index) = state.indexes.get_mut(&key) else { return Err(gone()) };
            index.begin_segment();
            (SegmentWriter::new(index.dimension(), index.len()), self.store.snapshot())
        };
        for entry in snapshot.scan_vectors(self.id, key.0, key.1) {
            let (item, part, vector) = entry?;
            writer.push(VectorKey { item, part }, &vector.values);
        }
        drop(snapshot);
        fail_point("seal.before_build");
        let folder = folder(self.store.folder());
        fs::create_dir_all(&folder)
            .map_err(|error| Error::Storage(format!("cannot make {}: {error}", folder.display())))?;
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

    fn publish(&self, key: GenerationKey, segment: Segment) -> Result<()> {
        let path = segment.path().to_owned();
        let before = self.lock_writer().and_then(|_no_writer| {
            let mut state = self.state.write();
            state.indexes.get_mut(&key).ok_or_else(gone).and_then(|index| index.publish(segment))
        });
        match before {
            Ok(before) => {
                fail_point("seal.published");
                before.into_iter().for_each(|file| remove(&file));
                self.measure();
                Ok(())
            }
            Err(error) => {
                remove(&path);
                Err(error)
            }
        }
    }

    fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.current_num_threads())
    }
}

/// Refuses what an item's part cannot have as its vector.
pub(super) type CheckVector<'a> = dyn Fn(u64, u32, &[f32]) -> Result<()> + 'a;

/// The index of a generation as the store has it: what the newest whole segment holds, and the rest in the tail.
///
/// # Errors
/// [`Error::Corruption`], [`Error::Storage`] of the store; a segment that cannot be used is put aside.
pub(super) fn open_index(
    snapshot: &Snapshot<'_>,
    store_folder: &Path,
    (schema, key, dimension): (&CollectionSchema, GenerationKey, usize),
    pool: Option<&Arc<rayon::ThreadPool>>,
    check: &CheckVector<'_>,
) -> Result<SegmentedIndex> {
    let mut found = None;
    for (_, file) in files(&folder(store_folder), schema.id, key, ".segment").into_iter().rev() {
        // Every row is about to be compared with the store's, so all bytes are looked at here.
        match Segment::open(&file).and_then(|segment| segment.verify().map(|()| segment)) {
            Ok(segment) if segment.dimension() == dimension && found.is_none() => found = Some(segment),
            Ok(_) => remove(&file),
            Err(error) => {
                tracing::warn!(%error, file = %file.display(), "a segment cannot be used and is built again");
                put_aside(&file);
            }
        }
    }
    let mut index = match found {
        Some(segment) => SegmentedIndex::of_segment(segment, pool.cloned()),
        None => SegmentedIndex::new(dimension, pool.cloned()),
    };
    let mut rows = Rows::new(dimension, 1);
    for entry in snapshot.scan_vectors(schema.id, key.0, key.1) {
        let (item, part, vector) = entry?;
        check(item, part, &vector.values)?;
        index.confirm(VectorKey { item, part }, &vector.values, &mut rows);
    }
    Ok(index)
}

/// Where a data folder keeps its segments.
fn folder(store_folder: &Path) -> PathBuf {
    store_folder.join("segments")
}

/// The files of a generation with an ending, by rising number.
fn files(folder: &Path, collection: u32, (field, generation): GenerationKey, ending: &str) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let prefix = format!("{collection}-{field}-{generation}-");
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.strip_prefix(&prefix)?.strip_suffix(ending)?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Removes the segments of generations that `is_live` does not know.
pub(in crate::collection) fn remove_leftovers(store_folder: &Path, is_live: impl Fn(u32, GenerationKey) -> bool) {
    for (name, path) in names(store_folder) {
        let numbers: Vec<u32> = name.split('-').take(3).filter_map(|number| number.parse().ok()).collect();
        let is_known =
            matches!(numbers[..], [collection, field, generation] if is_live(collection, (field, generation)));
        if !is_known && (name.ends_with(".segment") || name.ends_with(".damaged")) {
            remove(&path);
        }
    }
}

/// Removes what was being written when a server died. Nobody may make segments meanwhile.
pub(in crate::collection) fn remove_half_written(store_folder: &Path) {
    let half_written = names(store_folder).filter(|(name, _)| name.ends_with(".writing"));
    half_written.for_each(|(_, path)| remove(&path));
}

/// The segments of a data folder, those that were put aside among them, by name.
pub(in crate::collection) fn segment_files(store_folder: &Path) -> Vec<PathBuf> {
    let is_segment = |name: &str| name.ends_with(".segment") || name.ends_with(".damaged");
    let mut found: Vec<PathBuf> =
        names(store_folder).filter(|(name, _)| is_segment(name)).map(|(_, path)| path).collect();
    found.sort_unstable();
    found
}

/// Every file in the folder of segments, by name.
fn names(store_folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(folder(store_folder)).into_iter().flatten();
    entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        Some((path.file_name()?.to_str()?.to_owned(), path))
    })
}

fn remove(file: &Path) {
    if let Err(error) = fs::remove_file(file) {
        tracing::warn!(%error, file = %file.display(), "cannot remove a segment that is not used any more");
    }
}

fn put_aside(file: &Path) {
    let aside = file.with_extension("damaged");
    if let Err(error) = fs::rename(file, &aside) {
        tracing::warn!(%error, file = %file.display(), "cannot put a damaged segment aside");
    }
}

fn gone() -> Error {
    Error::Internal("a generation went away while its segment was built".to_owned())
}
