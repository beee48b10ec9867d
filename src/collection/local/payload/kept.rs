//! What recent filters were found to leave, kept until an item or the description changes: shops ask with the same few filters all day.
//!
//! A filter that is asked with again also keeps the nodes that it leaves of each segment, which the index fills in. These have room of their own:
//! where it is used up, the filters that were not asked with for longest lose theirs.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;

use super::indexes::PayloadIndexes;
use super::resolve::Resolved;
use crate::collection::schema::CollectionSchema;
use crate::index::Among;
use crate::index::graph::{NodeRoom, NodeSets};
use crate::types::filter::Filter;

/// Filters that a collection keeps, and the bytes that what they leave may take together, as items and as nodes.
const FILTERS: usize = 32;
const BYTES: usize = 4 << 20;
const NODE_BYTES: usize = 4 << 20;

pub(super) struct KeptFilters {
    kept: Mutex<Kept>,
    room: Arc<NodeRoom>,
}

/// The newest last.
#[derive(Default)]
struct Kept {
    /// What the filters were resolved with. Held, so that its place in memory is nobody else's.
    schema: Option<Arc<CollectionSchema>>,
    filters: Vec<(String, Arc<KeptFilter>)>,
    bytes: usize,
}

struct KeptFilter {
    resolved: Resolved,
    nodes: NodeSets,
}

/// A filter that somebody searches with.
pub(in crate::collection::local) struct AskedFilter {
    kept: Arc<KeptFilter>,
    is_again: bool,
}

impl AskedFilter {
    /// The items that may satisfy the filter, if indexes tell. Their nodes are kept only for what is asked again: most filters never are.
    pub(in crate::collection::local) fn among(&self) -> Option<Among<'_>> {
        let items = self.kept.resolved.items.as_ref()?;
        Some(Among { items, nodes: self.is_again.then_some(&self.kept.nodes) })
    }
}

impl Deref for AskedFilter {
    type Target = Resolved;

    fn deref(&self) -> &Resolved {
        &self.kept.resolved
    }
}

impl Default for KeptFilters {
    fn default() -> Self {
        Self { kept: Mutex::default(), room: NodeRoom::new(NODE_BYTES) }
    }
}

impl KeptFilters {
    /// Forgets everything, because something has changed.
    pub(super) fn forget(&mut self) {
        *self.kept.get_mut() = Kept::default();
    }
}

impl Kept {
    fn find(&mut self, schema: &Arc<CollectionSchema>, text: &str, room: &NodeRoom) -> Option<Arc<KeptFilter>> {
        if !self.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, schema)) {
            *self = Self { schema: Some(Arc::clone(schema)), ..Self::default() };
            return None;
        }
        let at = self.filters.iter().rposition(|(known, _)| known == text)?;
        let entry = self.filters.remove(at);
        let found = Arc::clone(&entry.1);
        self.filters.push(entry);
        let lacking = found.nodes.take_lacking();
        if lacking > 0 {
            // Its own go last; those of segments that are gone may be among them.
            for (_, filter) in &self.filters {
                if room.used() + lacking <= room.most() {
                    break;
                }
                filter.nodes.clear();
            }
        }
        Some(found)
    }

    fn keep(&mut self, schema: &Arc<CollectionSchema>, text: String, filter: &Arc<KeptFilter>) {
        let is_known = self.filters.iter().any(|(known, _)| *known == text);
        let bytes = bytes_of(filter);
        if is_known || bytes > BYTES || !self.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, schema)) {
            return;
        }
        while self.filters.len() >= FILTERS || self.bytes + bytes > BYTES {
            self.bytes -= bytes_of(&self.filters.remove(0).1);
        }
        self.bytes += bytes;
        self.filters.push((text, Arc::clone(filter)));
    }
}

fn bytes_of(filter: &KeptFilter) -> usize {
    filter.resolved.items.as_ref().map_or(0, roaring::RoaringTreemap::serialized_size)
}

impl PayloadIndexes {
    /// As [`PayloadIndexes::resolve`], once for a filter that is asked with again and again.
    pub(in crate::collection::local) fn resolve_kept(
        &self,
        schema: &Arc<CollectionSchema>,
        filter: &Filter,
    ) -> AskedFilter {
        let KeptFilters { kept, room } = &self.kept;
        let text = filter.to_string();
        if let Some(kept) = kept.lock().find(schema, &text, room) {
            return AskedFilter { kept, is_again: true };
        }
        let found = Arc::new(KeptFilter { resolved: self.resolve(schema, filter), nodes: NodeSets::new(room) });
        kept.lock().keep(schema, text, &found);
        AskedFilter { kept: found, is_again: false }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;
    use crate::index::graph::{BUILDERS, BuildSettings};
    use crate::index::{Candidates, IndexSearch, SegmentPlan, SegmentedIndex, Sources, VectorIndex as _, VectorKey};
    use crate::types::filter::parse_path;

    fn schema() -> Arc<CollectionSchema> {
        let json = r#"{"id":1,"uid":"u","name":"c","fields":[],"next_field_id":1,"media_originals":"keep","default_field":"","created":{"seconds":0,"nanos":0}}"#;
        Arc::new(serde_json::from_str(json).expect("a description"))
    }

    fn filter(number: i64) -> Filter {
        crate::types::filter::parse(&format!("n = {number}")).expect("a filter")
    }

    #[test]
    fn filters_are_kept_until_something_changes_and_not_without_end() {
        let (mut indexes, first) = (PayloadIndexes::default(), schema());
        let ask = |indexes: &PayloadIndexes, schema: &Arc<CollectionSchema>, number: i64| {
            Arc::as_ptr(&indexes.resolve_kept(schema, &filter(number)).kept)
        };
        let one = ask(&indexes, &first, 1);
        assert_eq!(ask(&indexes, &first, 1), one, "the same once more");
        (2..FILTERS as i64 + 1).for_each(|number| _ = ask(&indexes, &first, number));
        assert_eq!(ask(&indexes, &first, 1), one, "as many as are kept");
        assert_eq!(indexes.kept.kept.lock().filters.len(), FILTERS);
        (100..100 + FILTERS as i64).for_each(|number| _ = ask(&indexes, &first, number));
        let texts: Vec<String> = indexes.kept.kept.lock().filters.iter().map(|(text, _)| text.clone()).collect();
        assert!(texts.len() == FILTERS && !texts.contains(&filter(1).to_string()), "{texts:?}");
        let other = schema();
        ask(&indexes, &other, 7);
        assert_eq!(indexes.kept.kept.lock().filters.len(), 1, "another description");
        indexes.apply(&[], std::iter::once(5), &[]);
        assert_eq!(indexes.kept.kept.lock().filters.len(), 0, "another item");
    }

    #[test]
    fn what_takes_too_much_is_not_kept() {
        let mut kept = Kept { schema: Some(schema()), ..Kept::default() };
        let of = |bytes: usize| {
            // Two bytes for each of at most 4,096 numbers of a container.
            let items = (0..bytes as u64 / 2).map(|number| number * 30).collect();
            let (missing, mismatches) = (vec![], Default::default());
            let resolved = Resolved { items: Some(items), is_exact: true, missing, mismatches };
            Arc::new(KeptFilter { resolved, nodes: NodeSets::new(&NodeRoom::new(0)) })
        };
        let known = kept.schema.clone().expect("a description");
        kept.keep(&known, "large".to_owned(), &of(BYTES + 1_000_000));
        assert!(kept.filters.is_empty());
        for number in 0..9 {
            kept.keep(&known, number.to_string(), &of(1_000_000));
        }
        let texts: Vec<&str> = kept.filters.iter().map(|(text, _)| text.as_str()).collect();
        assert!(texts.len() < 5 && texts.last() == Some(&"8") && kept.bytes <= BYTES, "{texts:?} {}", kept.bytes);
    }

    /// An index of one segment, of the items 0 to 299.
    fn index(folder: &std::path::Path) -> SegmentedIndex {
        let mut index = SegmentedIndex::new(2, 1_000, None);
        let vector = |item: u64| [(item as f32).cos(), (item as f32).sin()];
        (0..300).for_each(|item| index.insert(&[(VectorKey { item, part: 0 }, &vector(item))]));
        index.begin_segment(&SegmentPlan { takes_tail: true, segments: vec![] }).expect("none was begun");
        let writer = index.sources().and_then(Sources::collect).expect("vectors").expect("some");
        let written = writer.write(&folder.join("a.segment"), BUILDERS[0], &BuildSettings::default(), &false.into());
        index.publish(Some(written.expect("a segment").segment)).expect("it was begun");
        index
    }

    struct Left<'a>(Among<'a>);

    impl Candidates for Left<'_> {
        fn accepts(&self, item: u64) -> bool {
            self.0.items.contains(item)
        }

        fn among(&self) -> Option<Among<'_>> {
            Some(self.0)
        }

        fn compare(&self, a: u64, b: u64) -> Ordering {
            a.cmp(&b)
        }
    }

    #[test]
    fn nodes_are_kept_from_the_second_question_on_and_not_without_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let index = index(folder.path());
        let schema = schema();
        // True if nodes are kept for the filter of this number afterwards, and the bytes that all sets take.
        let ask = |indexes: &PayloadIndexes, number: usize| {
            // What has no value of an empty list is everything; the more often it is said, the more filters there are.
            let nothing = Filter::In(parse_path("n").expect("a path"), vec![]);
            let filter = Filter::Or(vec![Filter::Not(Box::new(nothing)); number]);
            let asked = indexes.resolve_kept(&schema, &filter);
            let search = IndexSearch { exact: false, ..IndexSearch::exact(5) };
            let found = index.search(&[1.0, 0.0], search, &Left(asked.among().expect("known items")));
            let found: Vec<u64> = found.expect("a whole file").neighbours.iter().map(|found| found.key.item).collect();
            assert_eq!(found, [0, 44, 289, 88, 245], "filter {number}");
            (!asked.kept.nodes.is_empty(), indexes.kept.room.used())
        };
        let mut indexes = PayloadIndexes::default();
        indexes.apply(&[], 0..300, &[]);
        assert_eq!(ask(&indexes, 1), (false, 0));
        let (is_kept, one) = ask(&indexes, 1);
        assert!(is_kept && (40..1_000).contains(&one), "{one} bytes: a bit for each of 300 nodes, and a sample");
        assert_eq!(
            [ask(&indexes, 1), ask(&indexes, 2), ask(&indexes, 2)],
            [(true, one), (false, one), (true, 2 * one)]
        );
        indexes.apply(&[299], std::iter::empty(), &[]);
        assert_eq!(indexes.kept.room.used(), 0, "something has changed");

        indexes.kept.room = NodeRoom::new(2 * one + one / 2);
        for number in [1, 1, 2, 2, 3] {
            ask(&indexes, number);
        }
        assert_eq!(ask(&indexes, 3), (false, 2 * one), "no room is left, ...");
        assert_eq!(ask(&indexes, 3), (true, 2 * one), "... until the next question, for which the oldest gives way");
        assert_eq!([ask(&indexes, 2).0, ask(&indexes, 1).0], [true, false]);
    }
}
