//! A graph over vectors that do not change, read from a mapped file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytemuck::cast_slice;
use memmap2::Mmap;

use super::among::{KeptNodes, is_far, walk_among};
use super::calibrate::{Calibration, Measured};
use super::format::{self, BLOCK, Header, Section};
use super::items::Directory;
use super::links::{Links, NONE};
use super::pages::Pages;
use super::repair::SELF_EF;
use super::rows::{RowTerm, Rows, RowsView, row_width};
use super::sketch::{SketchView, sketch_bits};
use super::walk::{Scratch, descend, walk};
use crate::distance::{codes, prefetch};
use crate::index::VectorKey;
use crate::{Error, Result};

/// Sections in the order of the file.
pub(super) const HIGH: &str = "high bytes";
pub(super) const LOW: &str = "low bytes";
pub(super) const TERMS: &str = "terms";
pub(super) const BASE: &str = "links of level 0";
pub(super) const UPPER_AT: &str = "places of upper links";
pub(super) const UPPER: &str = "upper links";
pub(super) const KEY_AT: &str = "places of keys";
pub(super) const KEYS: &str = "keys";
pub(super) const KEY_ORDER: &str = "order of keys";
/// The two that follow only if rows are long enough to have sketches.
pub(super) const SKETCHES: &str = "sketches";
pub(super) const MEAN: &str = "rotated mean";

/// Vectors that are asked for themselves.
const SAMPLED: usize = 1_000;

/// An immutable graph over part of a field's generation.
pub struct Segment {
    path: PathBuf,
    map: Mmap,
    header: Header,
    high: Section,
    low: Section,
    terms: Section,
    base: Section,
    upper_at: Section,
    upper: Section,
    key_at: Section,
    keys: Section,
    key_order: Section,
    /// Sketches and the mean that they are taken from.
    sketches: Option<[Section; 2]>,
    walked: Walked,
    /// By block of the low bytes: true once its checksum was seen to be right.
    intact: Vec<AtomicBool>,
    directory: OnceLock<Option<Directory>>,
}

/// What walks jump through, in memory of its own.
#[derive(Default)]
struct Walked {
    high: Pages,
    terms: Pages,
    base: Pages,
    keys: Pages,
    sketches: Pages,
}

impl Segment {
    /// Maps a file and checks everything that a walk reads; low bytes are checked as they are used, or by [`Segment::verify`].
    ///
    /// # Errors
    /// [`Error::Storage`] if it cannot be read, [`Error::Corruption`] if it is not what was written.
    pub fn open(path: &Path) -> Result<Self> {
        if cfg!(target_endian = "big") {
            return Err(Error::Unsupported("segments on a big-endian machine".to_owned()));
        }
        let failed = |error: std::io::Error| Error::of_file("open", path, &error);
        let file = File::open(path).map_err(failed)?;
        // SAFETY: segments are written aside and renamed, and never written to again; a data folder has one owner.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        let within = |error: Error| match error {
            Error::Corruption(what) => Error::Corruption(format!("{}: {what}", path.display())),
            other => other,
        };
        let header = format::read_header(&map).map_err(within)?;
        let mut sections = header.sections.iter().cloned();
        let expected = |name: &str, found: Option<Section>| match found {
            Some(section) if section.name == name => Ok(section),
            found => Err(Error::Corruption(format!(
                "{}: expected the section {name:?}, found {:?}",
                path.display(),
                found.map(|section| section.name)
            ))),
        };
        let mut next = |name: &str| expected(name, sections.next());
        let segment = Self {
            path: path.to_owned(),
            high: next(HIGH)?,
            low: next(LOW)?,
            terms: next(TERMS)?,
            base: next(BASE)?,
            upper_at: next(UPPER_AT)?,
            upper: next(UPPER)?,
            key_at: next(KEY_AT)?,
            keys: next(KEYS)?,
            key_order: next(KEY_ORDER)?,
            sketches: match sections.next() {
                None => None,
                found => Some([expected(SKETCHES, found)?, expected(MEAN, sections.next())?]),
            },
            walked: Walked::default(),
            intact: Vec::new(),
            directory: OnceLock::new(),
            header,
            map,
        };
        let intact = segment.low.checksums.iter().map(|_| AtomicBool::new(false)).collect();
        let segment = Self { intact, ..segment };
        segment.check()?;
        let copy = |section: &Section| {
            let copy = Pages::copy_of(segment.bytes(section));
            segment.forget(section);
            copy
        };
        let walked = Walked {
            high: copy(&segment.high),
            terms: copy(&segment.terms),
            base: copy(&segment.base),
            keys: copy(&segment.keys),
            sketches: segment.sketches.as_ref().map(|[sketches, _]| copy(sketches)).unwrap_or_default(),
        };
        Ok(Self { walked, ..segment })
    }

    /// Checks that every section but the low bytes is what was written.
    fn check_sections(&self) -> Result<()> {
        let walked = [&self.high, &self.terms, &self.base, &self.upper_at, &self.upper];
        let found = [&self.key_at, &self.keys, &self.key_order];
        for section in walked.into_iter().chain(found).chain(self.sketches.iter().flatten()) {
            let blocks = self.bytes(section).chunks(BLOCK).zip(&section.checksums);
            if let Some(block) = blocks.enumerate().find(|(_, (block, sum))| !format::is_intact(block, **sum)) {
                return Err(self.damaged(section, block.0));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.check_sections()?;
        let Header { dimension, nodes, keys, m, entry, strays, .. } = &self.header;
        let (nodes, m) = (*nodes as usize, *m as usize);
        let rows = nodes * row_width(*dimension as usize);
        let expected = [
            (&self.high, rows),
            (&self.low, rows),
            (&self.terms, nodes * size_of::<RowTerm>()),
            (&self.base, nodes * 2 * m * 4),
            (&self.upper_at, (nodes + 1) * 4),
            (&self.key_at, (nodes + 1) * 4),
            (&self.keys, *keys as usize * 12),
            (&self.key_order, *keys as usize * 4),
        ];
        let n_bits = sketch_bits(*dimension as usize);
        let of_sketches =
            self.sketches.iter().flat_map(|[sketches, mean]| [(sketches, nodes * n_bits / 8), (mean, n_bits * 4)]);
        let wrong = |what: String| Error::Corruption(format!("{}: {what}", self.path.display()));
        for (section, expected) in expected.into_iter().chain(of_sketches) {
            if section.length != expected as u64 {
                return Err(wrong(format!("{} has {} bytes, expected {expected}", section.name, section.length)));
            }
        }
        // Checksums say that the bytes are what was written; these, that what was written can be walked.
        let is_node = |node: &u32| (*node as usize) < nodes;
        let links = |section| cast_slice::<u8, u32>(self.bytes(section));
        let is_link = |link: &u32| *link == NONE || is_node(link);
        let rises = |places: &[u32], end: usize| {
            places.is_sorted() && places.first() == Some(&0) && places.last().is_some_and(|last| *last as usize == end)
        };
        let n_upper = self.upper.length as usize / (4 * m.max(1));
        let is_sound = entry.iter().all(is_node)
            && (entry.is_some() || nodes == 0)
            && strays.iter().all(is_node)
            && links(&self.base).iter().all(is_link)
            && links(&self.upper).iter().all(is_link)
            && self.upper.length as usize == n_upper * 4 * m
            && rises(links(&self.upper_at), n_upper)
            && rises(links(&self.key_at), *keys as usize)
            && links(&self.key_order).iter().all(|place| place < keys);
        if is_sound { Ok(()) } else { Err(wrong("its links or keys point outside".to_owned())) }
    }

    fn damaged(&self, section: &Section, block: usize) -> Error {
        let path = self.path.display();
        Error::Corruption(format!("{path}: block {block} of the {} has another checksum", section.name))
    }

    fn bytes(&self, section: &Section) -> &[u8] {
        &self.map[section.offset as usize..(section.offset + section.length) as usize]
    }

    /// Gives pages back that are not read again.
    fn forget(&self, section: &Section) {
        #[cfg(unix)]
        {
            let (offset, length) = (section.offset as usize, section.length as usize);
            // SAFETY: the map is of a file and only read: pages that are read again come from the file with the same bytes.
            drop(unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, length) });
        }
        #[cfg(not(unix))]
        let _ = section;
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn dimension(&self) -> usize {
        self.header.dimension as usize
    }

    /// Distinct vectors.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.header.nodes as usize
    }

    /// Vectors, those that are alike counted each.
    #[must_use]
    pub fn n_keys(&self) -> usize {
        self.header.keys as usize
    }

    /// Bytes of the file, which lie in the page cache and not in this process's own memory.
    #[must_use]
    pub fn file_bytes(&self) -> usize {
        self.map.len()
    }

    /// Bytes of this process's own memory: what walks jump through.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let Walked { high, terms, base, keys, sketches } = &self.walked;
        let directory = self.directory.get().and_then(Option::as_ref).map_or(0, Directory::bytes);
        [high, terms, base, keys, sketches].map(|pages| pages.bytes().len()).iter().sum::<usize>() + directory
    }

    #[must_use]
    pub fn calibration(&self) -> &Calibration {
        &self.header.calibration
    }

    /// Nodes that walks miss; every walk looks at them.
    #[must_use]
    pub fn strays(&self) -> &[u32] {
        &self.header.strays
    }

    /// The rows. Whoever scores by low bytes asks [`Segment::check_row`] before.
    #[must_use]
    pub fn rows(&self) -> RowsView<'_> {
        let dimension = self.dimension();
        RowsView {
            dimension,
            width: row_width(dimension),
            high: cast_slice(self.walked.high.bytes()),
            low: cast_slice(self.bytes(&self.low)),
            terms: cast_slice::<u8, RowTerm>(self.walked.terms.bytes()),
            sketches: self.sketches.as_ref().filter(|[_, mean]| mean.length > 0).map(|[_, mean]| SketchView {
                words: cast_slice(self.walked.sketches.bytes()),
                mean: cast_slice(self.bytes(mean)),
            }),
        }
    }

    /// The places of a node's keys: more than one if vectors are alike.
    #[must_use]
    pub fn key_places(&self, node: u32) -> std::ops::Range<u32> {
        if self.n_keys() == self.n_nodes() {
            return node..node + 1;
        }
        let places: &[u32] = cast_slice(self.bytes(&self.key_at));
        places[node as usize]..places[node as usize + 1]
    }

    /// Asks the processor to bring near what a node's score and key are read from; a hint that changes no result.
    pub(super) fn prefetch(&self, rows: RowsView<'_>, node: u32) {
        codes::prefetch(rows.low, node, rows.width);
        if self.n_keys() == self.n_nodes() {
            prefetch(&self.all_keys()[node as usize..=node as usize]);
        }
    }

    /// The key at a place, 0 to [`Segment::n_keys`] (exclusive).
    #[must_use]
    pub fn key(&self, place: u32) -> VectorKey {
        let [low, high, part] = self.all_keys()[place as usize];
        VectorKey { item: u64::from(low) | u64::from(high) << 32, part }
    }

    fn all_keys(&self) -> &[[u32; 3]] {
        cast_slice(self.walked.keys.bytes())
    }

    /// Every place, by rising key.
    pub(super) fn key_order(&self) -> &[u32] {
        cast_slice(self.bytes(&self.key_order))
    }

    /// The first and the last item; `None` of nothing.
    pub(super) fn item_range(&self) -> Option<(u64, u64)> {
        let order = self.key_order();
        Some((self.key(*order.first()?).item, self.key(*order.last()?).item))
    }

    /// Where items' keys are, if they stand close together.
    pub(super) fn directory(&self) -> Option<&Directory> {
        self.directory.get_or_init(|| Directory::of(self)).as_ref()
    }

    /// Where a key stands, if the segment has it.
    #[must_use]
    pub fn place(&self, key: VectorKey) -> Option<u32> {
        let order: &[u32] = cast_slice(self.bytes(&self.key_order));
        // Most keys that are asked for are newer than the segment.
        if order.last().is_none_or(|&last| self.key(last) < key) {
            return None;
        }
        order.binary_search_by(|&place| self.key(place).cmp(&key)).ok().map(|found| order[found])
    }

    /// The places of an item's keys.
    pub fn item_places(&self, item: u64) -> impl Iterator<Item = u32> + '_ {
        let order: &[u32] = cast_slice(self.bytes(&self.key_order));
        let is_older = order.last().is_none_or(|&last| self.key(last).item < item);
        let first = if is_older { order.len() } else { order.partition_point(|&place| self.key(place).item < item) };
        order[first..].iter().copied().take_while(move |&place| self.key(place).item == item)
    }

    /// The node whose vector a place's key names.
    #[must_use]
    pub fn node(&self, place: u32) -> u32 {
        let places: &[u32] = cast_slice(self.bytes(&self.key_at));
        places.partition_point(|&first| first <= place) as u32 - 1
    }

    /// True if the vector at a place is this one, as far as a row can tell. `rows` is for scratch and is left as it was.
    #[must_use]
    pub fn holds(&self, place: u32, vector: &[f32], rows: &mut Rows) -> bool {
        vector.len() == self.dimension() && {
            rows.clear();
            rows.push(vector);
            self.check_row(row_width(vector.len()), self.node(place)).is_ok()
                && rows.view().is_row_of(0, self.rows(), self.node(place))
        }
    }

    /// Walks to the nodes nearest to a query and keeps the best `ef` in the scratch. Returns how many nodes were compared.
    pub fn walk(&self, query: &[f32], ef: usize, scratch: &mut Scratch) -> usize {
        let Some(entry) = self.header.entry else { return 0 };
        let (rows, links) = (self.rows(), self.links());
        let mut asked = std::mem::take(&mut scratch.query);
        asked.set_vector(rows, query);
        let near = descend((rows, &links), 1..self.level(entry) + 1, &asked, entry, scratch);
        let compared = match self.strays() {
            [] => walk((rows, &links), 0, &asked, (&[near], ef), scratch),
            strays => {
                let entries: Vec<u32> = strays.iter().copied().chain([near]).collect();
                walk((rows, &links), 0, &asked, (&entries, ef), scratch)
            }
        };
        scratch.query = asked;
        compared
    }

    /// Walks to the nearest of the nodes that are kept, from the query's place in the graph and from a sample of kept nodes;
    /// false if too few are kept around that place for a walk to find the best.
    pub(super) fn walk_among(
        &self,
        (query, ef): (&[f32], usize),
        kept_nodes: &impl KeptNodes,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(entry) = self.header.entry else { return false };
        let (rows, links) = (self.rows(), self.links());
        let mut asked = std::mem::take(&mut scratch.query);
        asked.set_vector(rows, query);
        let near = descend((rows, &links), 1..self.level(entry) + 1, &asked, entry, scratch);
        let is_far = is_far((&links, self.n_nodes()), near, kept_nodes, &mut scratch.visited);
        if !is_far {
            let sample = kept_nodes.sample().into_iter();
            let entries: Vec<u32> = self.strays().iter().copied().chain(sample).chain([near]).collect();
            walk_among((rows, &links), &asked, (&entries, ef), kept_nodes, scratch);
        }
        scratch.query = asked;
        !is_far
    }

    /// The cosine of a query and a node by both bytes.
    ///
    /// # Errors
    /// [`Error::Corruption`] if the row's low bytes are not what was written.
    pub fn score(&self, rows: RowsView<'_>, query: &[f32], node: u32) -> Result<f32> {
        self.check_row(rows.width, node)?;
        Ok(rows.score(query, node))
    }

    /// Checks the blocks that a row's low bytes stand in, if nobody has yet.
    fn check_row(&self, width: usize, node: u32) -> Result<()> {
        let first = node as usize * width / BLOCK;
        let last = ((node as usize + 1) * width - 1) / BLOCK;
        for block in first..=last {
            if !self.intact[block].load(Ordering::Relaxed) {
                self.check_block(block)?;
            }
        }
        Ok(())
    }

    #[cold]
    fn check_block(&self, block: usize) -> Result<()> {
        let bytes = self.bytes(&self.low);
        let bytes = &bytes[block * BLOCK..bytes.len().min((block + 1) * BLOCK)];
        if !format::is_intact(bytes, self.low.checksums[block]) {
            return Err(self.damaged(&self.low, block));
        }
        self.intact[block].store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Checks every low byte that was not used yet.
    ///
    /// # Errors
    /// [`Error::Corruption`] naming the first block that is not what was written.
    pub fn verify(&self) -> Result<()> {
        (0..self.intact.len()).try_for_each(|block| self.check_block(block))
    }

    /// Checks every byte of the file anew, also those that were seen to be right before.
    ///
    /// # Errors
    /// As [`Segment::verify`].
    pub fn recheck(&self) -> Result<()> {
        self.intact.iter().for_each(|block| block.store(false, Ordering::Relaxed));
        self.verify()?;
        self.check_sections()
    }

    /// Measures walks with queries from outside.
    ///
    /// # Errors
    /// As [`Segment::verify`].
    pub fn calibrate(&self, queries: &[Vec<f32>]) -> Result<Calibration> {
        self.verify()?;
        let (rows, mut scratch, mut measured) = (self.rows(), Scratch::default(), Measured::default());
        for query in queries {
            measured.add(rows, query, None, |ef| {
                self.walk(query, ef, &mut scratch);
                scratch.seen().iter().map(|seen| seen.node()).collect()
            });
        }
        Ok(measured.calibration())
    }

    /// The share of sampled vectors that a walk of least width finds by themselves, 0 to 1.
    ///
    /// # Errors
    /// As [`Segment::verify`].
    pub fn self_retrieval(&self) -> Result<f32> {
        self.verify()?;
        let (rows, mut scratch, mut query) = (self.rows(), Scratch::default(), Vec::new());
        let step = (self.n_nodes() / SAMPLED).max(1);
        let (mut n_found, mut n_asked) = (0, 0);
        for node in (0..self.n_nodes() as u32).step_by(step) {
            query.clear();
            rows.append_floats(node, &mut query);
            self.walk(&query, SELF_EF, &mut scratch);
            n_asked += 1;
            n_found += usize::from(scratch.seen().iter().any(|seen| seen.node() == node));
        }
        Ok(if n_asked == 0 { 1.0 } else { n_found as f32 / n_asked as f32 })
    }

    fn level(&self, node: u32) -> usize {
        let places: &[u32] = cast_slice(self.bytes(&self.upper_at));
        (places[node as usize + 1] - places[node as usize]) as usize
    }

    fn links(&self) -> SegmentLinks<'_> {
        SegmentLinks {
            m: self.header.m as usize,
            base: cast_slice(self.walked.base.bytes()),
            upper_at: cast_slice(self.bytes(&self.upper_at)),
            upper: cast_slice(self.bytes(&self.upper)),
        }
    }
}

struct SegmentLinks<'a> {
    m: usize,
    base: &'a [u32],
    upper_at: &'a [u32],
    upper: &'a [u32],
}

impl Links for SegmentLinks<'_> {
    #[inline]
    fn each(&self, level: usize, node: u32, call: impl FnMut(u32)) {
        let list = match level {
            0 => &self.base[node as usize * 2 * self.m..][..2 * self.m],
            _ => {
                // A walk above level 0 meets only nodes that have the level, unless the file was made to deceive.
                let at = self.upper_at[node as usize] as usize + level - 1;
                match at < self.upper_at[node as usize + 1] as usize {
                    true => &self.upper[at * self.m..][..self.m],
                    false => &[],
                }
            }
        };
        list.iter().copied().take_while(|&link| link != NONE).for_each(call);
    }

    fn prefetch(&self, level: usize, node: u32) {
        if level == 0 {
            codes::prefetch(cast_slice(self.base), node, 8 * self.m);
        }
    }
}
