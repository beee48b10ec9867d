//! What recent filters were found to leave, kept until an item or the description changes: shops ask with the same few filters all day.

use std::sync::Arc;

use parking_lot::Mutex;

use super::indexes::PayloadIndexes;
use super::resolve::Resolved;
use crate::collection::schema::CollectionSchema;
use crate::types::filter::Filter;

/// Filters that a collection keeps, and the bytes that what they leave may take together.
const FILTERS: usize = 32;
const BYTES: usize = 4 << 20;

/// The newest last.
#[derive(Default)]
pub(super) struct KeptFilters(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// What the filters were resolved with. Held, so that its place in memory is nobody else's.
    schema: Option<Arc<CollectionSchema>>,
    filters: Vec<(String, Arc<Resolved>)>,
    bytes: usize,
}

impl KeptFilters {
    /// Forgets everything, because something has changed.
    pub(super) fn forget(&mut self) {
        *self.0.get_mut() = Kept::default();
    }
}

impl Kept {
    fn find(&mut self, schema: &Arc<CollectionSchema>, text: &str) -> Option<Arc<Resolved>> {
        if !self.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, schema)) {
            *self = Self { schema: Some(Arc::clone(schema)), ..Self::default() };
            return None;
        }
        let at = self.filters.iter().rposition(|(known, _)| known == text)?;
        let entry = self.filters.remove(at);
        self.filters.push(entry);
        self.filters.last().map(|(_, resolved)| Arc::clone(resolved))
    }

    fn keep(&mut self, schema: &Arc<CollectionSchema>, text: String, resolved: &Arc<Resolved>) {
        let is_known = self.filters.iter().any(|(known, _)| *known == text);
        let bytes = bytes_of(resolved);
        if is_known || bytes > BYTES || !self.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, schema)) {
            return;
        }
        while self.filters.len() >= FILTERS || self.bytes + bytes > BYTES {
            self.bytes -= bytes_of(&self.filters.remove(0).1);
        }
        self.bytes += bytes;
        self.filters.push((text, Arc::clone(resolved)));
    }
}

fn bytes_of(resolved: &Resolved) -> usize {
    resolved.items.as_ref().map_or(0, roaring::RoaringTreemap::serialized_size)
}

impl PayloadIndexes {
    /// As [`PayloadIndexes::resolve`], once for a filter that is asked with again and again.
    pub(in crate::collection::local) fn resolve_kept(
        &self,
        schema: &Arc<CollectionSchema>,
        filter: &Filter,
    ) -> Arc<Resolved> {
        let text = filter.to_string();
        if let Some(found) = self.kept.0.lock().find(schema, &text) {
            return found;
        }
        let resolved = Arc::new(self.resolve(schema, filter));
        self.kept.0.lock().keep(schema, text, &resolved);
        resolved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Arc::as_ptr(&indexes.resolve_kept(schema, &filter(number)))
        };
        let one = ask(&indexes, &first, 1);
        assert_eq!(ask(&indexes, &first, 1), one, "the same once more");
        (2..FILTERS as i64 + 1).for_each(|number| _ = ask(&indexes, &first, number));
        assert_eq!(ask(&indexes, &first, 1), one, "as many as are kept");
        assert_eq!(indexes.kept.0.lock().filters.len(), FILTERS);
        (100..100 + FILTERS as i64).for_each(|number| _ = ask(&indexes, &first, number));
        let texts: Vec<String> = indexes.kept.0.lock().filters.iter().map(|(text, _)| text.clone()).collect();
        assert!(texts.len() == FILTERS && !texts.contains(&filter(1).to_string()), "{texts:?}");
        let other = schema();
        ask(&indexes, &other, 7);
        assert_eq!(indexes.kept.0.lock().filters.len(), 1, "another description");
        indexes.apply(&[], std::iter::once(5), &[]);
        assert_eq!(indexes.kept.0.lock().filters.len(), 0, "another item");
    }

    #[test]
    fn what_takes_too_much_is_not_kept() {
        let mut kept = Kept { schema: Some(schema()), ..Kept::default() };
        let of = |bytes: usize| {
            // Two bytes for each of at most 4,096 numbers of a container.
            let items = (0..bytes as u64 / 2).map(|number| number * 30).collect();
            Arc::new(Resolved { items: Some(items), is_exact: true, missing: vec![], mismatches: Default::default() })
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
}
