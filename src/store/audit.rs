//! Checks every invariant between the column families of a collection.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::families::Family;
use super::keys;
use super::record::{Counters, ItemRecord};
use super::snapshot::{Snapshot, damaged};
use crate::Result;
use crate::types::ItemId;
use crate::types::payload_index::{PayloadIndexSpec, entries_of};
use crate::types::vector::UnitVector;

/// Problems beyond this many are counted but not described.
const DESCRIBED: usize = 100;

/// A field's generation whose vectors must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveGeneration {
    pub field: u32,
    pub generation: u32,
    pub dimension: u32,
}

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditScope {
    pub collection: u32,
    pub generations: Vec<LiveGeneration>,
    /// True if media bytes are originals, so that their BLAKE3 must be their key.
    pub media_are_originals: bool,
    /// Payload indexes by number; one that is not complete may lack entries.
    pub payload_indexes: Vec<(u32, PayloadIndexSpec, bool)>,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    pub items: u64,
    pub vectors: u64,
    pub media: u64,
    /// The first hundred problems, one sentence each.
    pub problems: Vec<String>,
    pub problem_count: u64,
}

impl AuditReport {
    /// Notes a problem.
    pub fn note(&mut self, problem: impl FnOnce() -> String) {
        self.problem_count += 1;
        if self.problems.len() < DESCRIBED {
            self.problems.push(problem());
        }
    }

    fn expect(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.note(problem);
        }
    }
}

/// Walks a collection and reports whatever contradicts itself: ids ↔ items, vectors ↔ parts, media ↔ counts ↔ bytes, counters.
///
/// # Errors
/// [`crate::Error::Storage`], [`crate::Error::Corruption`] if the walk cannot go on.
pub fn audit(snapshot: &Snapshot<'_>, scope: &AuditScope) -> Result<AuditReport> {
    let mut report = AuditReport::default();
    let counters = snapshot.counters(scope.collection)?;
    let uses = audit_items(snapshot, scope.collection, counters, &mut report)?;
    audit_ids(snapshot, scope.collection, &mut report)?;
    for &generation in &scope.generations {
        audit_vectors(snapshot, scope.collection, generation, &mut report)?;
    }
    audit_media(snapshot, scope, uses, &mut report)?;
    for (index, spec, is_complete) in &scope.payload_indexes {
        audit_payload_index(snapshot, scope.collection, (*index, spec, *is_complete), &mut report)?;
    }
    Ok(report)
}

/// Compares an index with what the payloads say.
fn audit_payload_index(
    snapshot: &Snapshot<'_>,
    collection: u32,
    (index, spec, is_complete): (u32, &PayloadIndexSpec, bool),
    report: &mut AuditReport,
) -> Result<()> {
    let mut stored: BTreeMap<u64, BTreeSet<_>> = BTreeMap::new();
    for entry in snapshot.scan_payload_index(collection, index) {
        let (entry, internal) = entry?;
        stored.entry(internal).or_default().insert(entry);
    }
    for entry in snapshot.scan_heads(collection) {
        let (internal, head) = entry?;
        let found = stored.remove(&internal).unwrap_or_default();
        let expected: BTreeSet<_> = entries_of(spec, &head.payload).iter().collect();
        let is_right = found == expected || (!is_complete && found.is_empty());
        let (path, kind) = (&spec.path, spec.kind.name());
        report.expect(is_right, || format!("the {kind} index of {path} has other values for item {}", head.id));
    }
    for internal in stored.keys() {
        report.note(|| format!("the index of {} has values of internal id {internal}, which is no item", spec.path));
    }
    Ok(())
}

/// Checks each record by itself; returns how many items use each picture.
fn audit_items(
    snapshot: &Snapshot<'_>,
    collection: u32,
    counters: Counters,
    report: &mut AuditReport,
) -> Result<HashMap<[u8; 32], u64>> {
    let mut uses = HashMap::new();
    for entry in snapshot.scan_records(collection) {
        let (internal, record) = entry?;
        report.items += 1;
        let id = &record.head.id;
        let version = record.head.version;
        report.expect(internal < counters.next_internal, || {
            format!("item {id} has internal id {internal}, not below the next one {}", counters.next_internal)
        });
        report.expect((1..=counters.version).contains(&version), || {
            format!("item {id} has version {version}, but the newest is {}", counters.version)
        });
        report
            .expect(record.vectors.is_sorted_by(|a, b| a < b), || format!("item {id} lists its vectors out of order"));
        for slot in &record.vectors {
            report.expect((slot.part as usize) < record.parts.len(), || {
                format!("item {id} has a vector of part {} but only {} parts", slot.part, record.parts.len())
            });
        }
        for media in record.media.iter().filter(|media| media.is_kept) {
            *uses.entry(media.info.hash).or_default() += 1;
        }
    }
    Ok(uses)
}

fn audit_ids(snapshot: &Snapshot<'_>, collection: u32, report: &mut AuditReport) -> Result<()> {
    let mut ids = snapshot.scan_ids(collection, None);
    let mut count = 0;
    loop {
        let batch: Vec<(ItemId, u64)> = ids.by_ref().take(1024).collect::<Result<_>>()?;
        if batch.is_empty() {
            break;
        }
        count += batch.len() as u64;
        let internals: Vec<u64> = batch.iter().map(|(_, internal)| *internal).collect();
        for ((id, internal), record) in batch.iter().zip(snapshot.records(collection, &internals)?) {
            let found = record.map(|record| record.head.id);
            report.expect(found.as_ref() == Some(id), || {
                format!("id {id} names internal id {internal}, which holds {found:?}")
            });
        }
    }
    let items = report.items;
    report.expect(count == items, || format!("{count} ids but {items} items"));
    Ok(())
}

/// Walks records and vectors side by side; both come in the order of internal ids.
fn audit_vectors(
    snapshot: &Snapshot<'_>,
    collection: u32,
    generation: LiveGeneration,
    report: &mut AuditReport,
) -> Result<()> {
    let LiveGeneration { field, generation: number, dimension } = generation;
    let mut vectors = snapshot.scan_vectors(collection, field, number).peekable();
    for entry in snapshot.scan_records(collection) {
        let (internal, record) = entry?;
        let mut expected = parts_with_vectors(&record, generation);
        while let Some(entry) = vectors.next_if(|entry| matches!(entry, Ok((owner, _, _)) if *owner <= internal)) {
            let (owner, part, vector) = entry?;
            report.vectors += 1;
            let is_listed = owner == internal && expected.remove(&part).is_some();
            report.expect(is_listed, || {
                format!("a vector of field {field}, generation {number}, internal id {owner}, part {part} has no item")
            });
            report.expect(is_unit(&vector, dimension), || {
                format!("the vector of part {part} of item {} is not a unit vector of {dimension}", record.head.id)
            });
        }
        if let Some(Err(error)) = vectors.next_if(Result::is_err) {
            return Err(error);
        }
        for part in expected.keys() {
            let id = &record.head.id;
            report.note(|| format!("item {id} lacks its vector of part {part}, field {field}, generation {number}"));
        }
    }
    for entry in vectors {
        let (owner, part, _) = entry?;
        report.note(|| format!("a vector of field {field}, internal id {owner}, part {part} has no item"));
    }
    Ok(())
}

fn parts_with_vectors(record: &ItemRecord, generation: LiveGeneration) -> BTreeMap<u32, ()> {
    let slots = record.vectors.iter();
    slots
        .filter(|slot| slot.field == generation.field && slot.generation == generation.generation)
        .map(|slot| (slot.part, ()))
        .collect()
}

fn is_unit(vector: &UnitVector, dimension: u32) -> bool {
    let length: f64 = vector.values.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    vector.values.len() == dimension as usize && (length - 1.0).abs() < 1e-3
}

fn audit_media(
    snapshot: &Snapshot<'_>,
    scope: &AuditScope,
    mut uses: HashMap<[u8; 32], u64>,
    report: &mut AuditReport,
) -> Result<()> {
    let prefix = keys::collection(scope.collection);
    let mut bytes = snapshot.view.scan(Family::Media, &prefix, &[], true).peekable();
    for entry in snapshot.view.scan(Family::MediaRefs, &prefix, &[], true) {
        let (key, value) = entry?;
        let hash = hash_of(&key)?;
        let count = keys::u64_at(&value, 0).ok_or_else(|| damaged("a media count"))?;
        let expected = uses.remove(&hash).unwrap_or(0);
        report.media += 1;
        report.expect(count == expected && count > 0, || {
            format!("picture {} is counted {count} times and used {expected} times", hex(&hash))
        });
        while let Some(orphan) = bytes.next_if(|entry| matches!(entry, Ok((other, _)) if other < &key)) {
            let orphan = hash_of(&orphan?.0)?;
            report.note(|| format!("picture {} is stored and never used", hex(&orphan)));
        }
        match bytes.next_if(|entry| entry.as_ref().map_or(true, |(other, _)| *other == key)).transpose()? {
            None => report.note(|| format!("picture {} has lost its bytes", hex(&hash))),
            Some((_, data)) => {
                let is_right = !scope.media_are_originals || *blake3::hash(&data).as_bytes() == hash;
                report.expect(is_right, || format!("picture {} holds other bytes", hex(&hash)));
            }
        }
    }
    for entry in bytes {
        let orphan = hash_of(&entry?.0)?;
        report.note(|| format!("picture {} is stored and never used", hex(&orphan)));
    }
    for (hash, count) in uses {
        report.note(|| format!("picture {} is used {count} times and not counted", hex(&hash)));
    }
    Ok(())
}

fn hash_of(key: &[u8]) -> Result<[u8; 32]> {
    key.get(4..).and_then(|hash| hash.try_into().ok()).ok_or_else(|| damaged("a picture's key"))
}

fn hex(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex()[..16].to_owned()
}
