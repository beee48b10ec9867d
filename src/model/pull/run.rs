//! `models pull`: from `hf:OWNER/NAME` to a folder below the models folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::endpoint::Endpoint;
use super::fetch::{Fetched, Source, fetch};
use super::hub::{Hub, Listing};
use super::progress::{Progress, megabytes};
use super::publish::{PullLock, partial_folder, publish, set_current};
use super::reference::Reference;
use super::select::{RemoteFile, Selection, select};
use crate::image::ImageRule;
use crate::model::card::Card;
use crate::model::fault::cannot_write;
use crate::model::{Description, ModelFolder, files, folder};
use crate::{Error, Result};

/// Digits of a commit that name a revision.
const REVISION_DIGITS: usize = 12;

/// What to pull and where to put it.
#[derive(Clone, Debug)]
pub struct PullRequest {
    pub reference: Reference,
    pub models_dir: PathBuf,
    /// The model's name here; the repository's in lower case if absent.
    pub name: Option<String>,
    pub endpoint: Endpoint,
    /// Sent to the endpoint alone.
    pub token: Option<String>,
    /// Failures in a row, without a byte between them, that are tried again.
    pub retries: u32,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct PullReport {
    pub name: String,
    pub revision: String,
    /// hf:OWNER/NAME@COMMIT.
    pub source: String,
    pub path: PathBuf,
    pub files: usize,
    /// Of all files.
    pub bytes: u64,
    /// Bytes that an earlier pull had left.
    pub resumed_bytes: u64,
    /// Bytes of files that this pull received.
    pub received_bytes: u64,
    /// True if the revision was there and nothing was fetched.
    pub already_there: bool,
    /// Absent if Pictor cannot load such a model.
    pub fingerprint: Option<String>,
    pub warnings: Vec<String>,
}

/// Fetches a model, or the rest of it; its folder appears whole or not at all, and `current` then names it.
///
/// # Errors
/// `InvalidArgument` for a name that is none; `NotFound`, `FailedPrecondition` or `Unavailable` with what the hub says;
/// `Unsupported` without safetensors; `Corruption` for a wrong hash; `StorageFull` or `Storage` if the disk refuses.
pub fn pull(request: &PullRequest) -> Result<PullReport> {
    let mut progress = Progress::start();
    let hub = Hub::new(request.endpoint.clone(), request.token.as_deref(), request.retries)?;
    if request.token.is_some() && request.endpoint.is_open_to_listeners() {
        progress.note(&format!("warning: the token goes to {} unencrypted", request.endpoint.origin()));
    }
    let name = request.reference.local_name(request.name.as_deref())?;
    let model = request.models_dir.join(&name);
    let place = |commit: &str| Place::new(&request.reference, &name, &model, commit);
    // A full commit that is there needs no hub.
    if let Some(report) = request.reference.commit().map(|commit| place(commit).existing()).transpose()?.flatten() {
        return already_there(&model, report, &mut progress);
    }
    let listing = hub.list(&request.reference)?;
    let selection = select(&listing.files)?;
    let place = place(&listing.commit);
    let _lock = PullLock::take(&model)?;
    if let Some(report) = place.existing()? {
        return already_there(&model, report, &mut progress);
    }
    place.check_neighbours()?;
    place.mention_leftovers(&mut progress);
    fetch_and_publish(&hub, &place, &listing, selection, &mut progress)
}

fn already_there(model: &Path, report: PullReport, progress: &mut Progress) -> Result<PullReport> {
    progress.note(&format!("{}@{} is there already", report.name, report.revision));
    // A pull that was killed after its last rename left this undone.
    if folder::current_revision(model)?.as_deref() != Some(&report.revision) {
        set_current(model, &report.revision)?;
        progress.note(&format!("{} now means {}@{}", report.name, report.name, report.revision));
    }
    Ok(report)
}

fn fetch_and_publish(
    hub: &Hub,
    place: &Place<'_>,
    listing: &Listing,
    mut selection: Selection,
    progress: &mut Progress,
) -> Result<PullReport> {
    let repository = place.reference.repository();
    let source = Source { hub, repository: &repository, commit: &listing.commit };
    let partial = partial_folder(place.model, &place.revision);
    let mut fetched: BTreeMap<String, Fetched> = BTreeMap::new();
    progress.set_total(total(&selection));
    for index in selection.indices.clone() {
        let path = partial.join(&index);
        if let Some(file) = selection.files.get(&index) {
            fetched.insert(index.clone(), fetch(&source, file, &path, progress)?);
        }
        let bytes = std::fs::read(&path).map_err(|error| cannot_write(&path, &error))?;
        selection.add_shards(&index, &bytes, &listing.files)?;
    }
    let bytes = total(&selection);
    let revision = &place.revision;
    progress.set_total(bytes);
    progress.note(&format!("{} at {revision}: {} files, {}", place.reference, selection.files.len(), megabytes(bytes)));
    for warning in &selection.warnings {
        progress.note(&format!("warning: {warning}"));
    }
    // Small files first: a folder that lacks something is found before the gigabytes.
    let mut remaining: Vec<&RemoteFile> =
        selection.files.values().filter(|file| !fetched.contains_key(&file.path)).collect();
    remaining.sort_by_key(|file| file.size);
    for file in remaining {
        fetched.insert(file.path.clone(), fetch(&source, file, &partial.join(&file.path), progress)?);
    }
    remove_strays(&partial, &selection)?;

    let (card, warning) = place.card(listing.licence.as_deref(), &partial, &fetched);
    let mut warnings = selection.warnings;
    if let Some(warning) = warning {
        progress.note(&format!("warning: {warning}"));
        warnings.push(warning);
    }
    publish(&partial, &place.path, &card)?;
    set_current(place.model, revision)?;
    progress.note(&format!("{}@{revision} is in {}", place.name, place.path.display()));
    Ok(PullReport {
        files: fetched.len(),
        bytes,
        resumed_bytes: fetched.values().map(|file| file.resumed).sum(),
        received_bytes: progress.received_bytes(),
        already_there: false,
        fingerprint: card.fingerprint,
        warnings,
        ..place.report()
    })
}

/// Where a commit goes.
struct Place<'a> {
    reference: &'a Reference,
    name: &'a str,
    /// The model's folder, with one folder a revision.
    model: &'a Path,
    revision: String,
    /// The revision's folder.
    path: PathBuf,
    source: String,
}

impl<'a> Place<'a> {
    fn new(reference: &'a Reference, name: &'a str, model: &'a Path, commit: &str) -> Self {
        let revision = commit.chars().take(REVISION_DIGITS).collect::<String>();
        let source = format!("hf:{}@{commit}", reference.repository());
        Self { reference, name, model, path: model.join(&revision), revision, source }
    }

    fn report(&self) -> PullReport {
        PullReport {
            name: self.name.to_owned(),
            revision: self.revision.clone(),
            source: self.source.clone(),
            path: self.path.clone(),
            files: 0,
            bytes: 0,
            resumed_bytes: 0,
            received_bytes: 0,
            already_there: true,
            fingerprint: None,
            warnings: Vec::new(),
        }
    }

    /// The revision, if it is there already.
    ///
    /// # Errors
    /// `FailedPrecondition` if its folder is there but holds something else: folders are never edited.
    fn existing(&self) -> Result<Option<PullReport>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let card = Card::read(&self.path)?;
        let present = files::list(&self.path)?;
        let missing: Vec<_> = card.files.keys().filter(|path| !present.contains_key(*path)).cloned().collect();
        let problem = match source_of(&card) {
            Some(source) if source == self.source && missing.is_empty() => {
                let (files, fingerprint) = (card.files.len(), card.fingerprint);
                let bytes =
                    present.iter().filter(|(path, _)| card.files.contains_key(*path)).map(|(_, bytes)| bytes).sum();
                return Ok(Some(PullReport { files, bytes, fingerprint, ..self.report() }));
            }
            Some(source) if source == self.source => format!("lacks {}", missing.join(", ")),
            Some(source) => format!("came from {source}"),
            None => "was not pulled".to_owned(),
        };
        let message = format!(
            "{} is there but {problem}; models are never edited: remove that folder or give --name another one",
            self.path.display()
        );
        Err(Error::FailedPrecondition { reason: "MODEL_DIFFERS", message })
    }

    /// Refuses to put two repositories under one name, which would change what the bare name means.
    fn check_neighbours(&self) -> Result<()> {
        let ours = format!("hf:{}@", self.reference.repository());
        let revisions = folder::list_revisions(self.model, self.name)?;
        for other in revisions.iter().filter_map(|revision| source_of(&Card::read(&revision.path).ok()?)) {
            if !other.to_lowercase().starts_with(&ours.to_lowercase()) {
                let message = format!("{:?} already holds {other}; give --name another name", self.name);
                return Err(Error::FailedPrecondition { reason: "MODEL_DIFFERS", message });
            }
        }
        Ok(())
    }

    /// Says where other unfinished pulls take up room.
    fn mention_leftovers(&self, progress: &mut Progress) {
        let ours = partial_folder(self.model, &self.revision);
        for entry in std::fs::read_dir(self.model).into_iter().flatten().flatten() {
            let path = entry.path();
            if path != ours && path.extension().is_some_and(|extension| extension == "partial") {
                progress.note(&format!("note: {} is left from a pull of another revision", path.display()));
            }
        }
    }

    /// The card, and a warning if Pictor cannot load such a model.
    fn card(
        &self,
        licence: Option<&str>,
        partial: &Path,
        fetched: &BTreeMap<String, Fetched>,
    ) -> (Card, Option<String>) {
        let mut rest = BTreeMap::from([("source".to_owned(), Value::from(self.source.clone()))]);
        rest.extend(licence.map(|licence| ("licence".to_owned(), Value::from(licence))));
        let model =
            ModelFolder { name: self.name.to_owned(), revision: self.revision.clone(), path: partial.to_owned() };
        let (fingerprint, warning) = match Description::read(&model, ImageRule::default()) {
            Ok(description) => (Some(description.fingerprint), None),
            Err(error) => {
                let error = error.to_string().replace(&partial.display().to_string(), &self.path.display().to_string());
                (None, Some(format!("the model is kept, but this Pictor cannot load it: {error}")))
            }
        };
        let files = fetched.iter().map(|(path, file)| (path.clone(), file.blake3.clone())).collect();
        (Card { fingerprint, files, rest, ..Card::default() }, warning)
    }
}

fn total(selection: &Selection) -> u64 {
    selection.files.values().map(|file| file.size).sum()
}

/// Where a pulled model came from.
fn source_of(card: &Card) -> Option<String> {
    card.rest.get("source").and_then(Value::as_str).filter(|source| source.starts_with("hf:")).map(str::to_owned)
}

/// Removes what an older program may have gathered under this commit.
fn remove_strays(partial: &Path, selection: &Selection) -> Result<()> {
    for path in files::list(partial)?.keys().filter(|path| !selection.files.contains_key(*path)) {
        let path = partial.join(path);
        std::fs::remove_file(&path).map_err(|error| cannot_write(&path, &error))?;
    }
    Ok(())
}
