//! CIRR's folder (Liu et al., arXiv 2108.04024): `cirr/captions/cap.rc2.SPLIT.json`, `cirr/image_splits/split.rc2.SPLIT.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::files::read_json;
use super::{Items, Triplet, TripletSource, Triplets};
use crate::Result;
use crate::train::data::{Corpus, Split};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn TripletSource> = Piece {
    name: "cirr",
    summary: "CIRR's captions, subsets and image splits; test1 has no answers and is written as submission files",
    source: "arXiv 2108.04024",
    build: |settings| settings.read::<Cirr>().map(|cirr| Box::new(cirr) as Box<dyn TripletSource>),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cirr {
    folder: PathBuf,
    /// What stands before an image's path inside the data set in its item's id.
    #[serde(default)]
    id_prefix: String,
    #[serde(default)]
    skip_missing: bool,
}

#[derive(Deserialize)]
struct Entry {
    pairid: u64,
    reference: String,
    target_hard: Option<String>,
    caption: String,
    img_set: ImageSet,
}

#[derive(Deserialize)]
struct ImageSet {
    members: Vec<String>,
}

impl TripletSource for Cirr {
    fn read(&self, corpus: &Corpus) -> Result<Triplets> {
        let (mut triplets, mut items) = (Triplets::default(), Items::of(corpus));
        let group = triplets.group("cirr");
        for (word, split) in [("train", Split::Train), ("val", Split::Validation), ("test1", Split::Test)] {
            let paths: BTreeMap<String, String> =
                read_json(&self.folder.join(format!("cirr/image_splits/split.rc2.{word}.json")))?;
            let item = |name: &str| {
                let path = paths.get(name).map_or(name, |path| path.trim_start_matches("./"));
                format!("{}{path}", self.id_prefix)
            };
            if split != Split::Train {
                let gallery = paths.keys().filter_map(|name| items.find(&item(name))).collect();
                triplets.galleries.insert((group, split), gallery);
            }
            let captions = self.folder.join(format!("cirr/captions/cap.rc2.{word}.json"));
            for entry in read_json::<Vec<Entry>>(&captions)? {
                let reference = items.find(&item(&entry.reference));
                let target = entry.target_hard.as_ref().map(|name| items.find(&item(name)));
                let members = entry.img_set.members.iter().map(|name| items.find(&item(name)));
                let members: Option<Vec<usize>> = members.collect::<Vec<_>>().into_iter().collect();
                let (Some(reference), Some(members)) = (reference, members) else { continue };
                let target = match target {
                    Some(None) => continue,
                    found => found.flatten(),
                };
                let wordings = vec![triplets.text(entry.caption)];
                triplets.all.push(Triplet {
                    name: entry.pairid.to_string(),
                    reference,
                    target,
                    wordings,
                    held_out_wordings: Vec::new(),
                    group,
                    members,
                    split,
                });
            }
        }
        items.check(&self.folder.display().to_string(), self.skip_missing)?;
        Ok(triplets)
    }
}
