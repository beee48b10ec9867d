//! FashionIQ's folder (Wu et al., arXiv 1905.12794): `captions/cap.CATEGORY.SPLIT.json`, `image_splits/split.CATEGORY.SPLIT.json`.

use std::path::PathBuf;

use serde::Deserialize;

use super::files::read_json;
use super::{Items, Triplet, TripletSource, Triplets};
use crate::train::data::{Corpus, Split};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn TripletSource> = Piece {
    name: "fashioniq",
    summary: "FashionIQ's captions and image splits; each category's validation gallery is its own split",
    source: "arXiv 1905.12794; captions joined as CLIP4Cir does (arXiv 2308.11485)",
    build: |settings| {
        let fashioniq: FashionIq = settings.read()?;
        if !fashioniq.id.contains("{name}") {
            return Err(settings.invalid(format!("id: expected {{name}} in it, found {:?}", fashioniq.id)));
        }
        Ok(Box::new(fashioniq))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FashionIq {
    folder: PathBuf,
    #[serde(default = "all_categories")]
    categories: Vec<String>,
    /// What the item of an image is called; `{name}` stands for the data set's name.
    #[serde(default = "default_id")]
    id: String,
    #[serde(default)]
    skip_missing: bool,
}

fn all_categories() -> Vec<String> {
    ["dress", "shirt", "toptee"].map(str::to_owned).to_vec()
}

fn default_id() -> String {
    "{name}.jpg".to_owned()
}

#[derive(Deserialize)]
struct Entry {
    candidate: String,
    target: String,
    captions: [String; 2],
}

/// What both captions become: the first's first letter upper and the rest lower case, both without marks around them.
fn sentences([first, second]: &[String; 2]) -> [String; 4] {
    let plain = |caption: &str| caption.trim_matches(['.', '?', ',', ' ']).to_owned();
    let capitalised = |caption: &str| {
        let plain = plain(caption);
        let mut letters = plain.chars();
        let head: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        head + &letters.as_str().to_lowercase()
    };
    [
        format!("{} and {}", capitalised(first), plain(second)),
        format!("{} and {}", capitalised(second), plain(first)),
        capitalised(first),
        capitalised(second),
    ]
}

impl TripletSource for FashionIq {
    fn read(&self, corpus: &Corpus) -> Result<Triplets> {
        let (mut triplets, mut items) = (Triplets::default(), Items::of(corpus));
        for category in &self.categories {
            crate::types::names::check_name("recipe.triplets.categories", category)?;
            let group = triplets.group(category);
            for (word, split) in [("train", Split::Train), ("val", Split::Validation)] {
                let captions = self.folder.join(format!("captions/cap.{category}.{word}.json"));
                for (number, entry) in read_json::<Vec<Entry>>(&captions)?.into_iter().enumerate() {
                    let ids = [&entry.candidate, &entry.target].map(|name| items.find(&self.item(name)));
                    let [Some(reference), Some(target)] = ids else { continue };
                    // In training one of the four is drawn, each as often; a measurement takes the first.
                    let drawn = if split == Split::Train { 4 } else { 1 };
                    let texts = sentences(&entry.captions).into_iter().take(drawn);
                    let wordings = texts.map(|text| triplets.text(text)).collect();
                    triplets.all.push(Triplet {
                        name: format!("{category}.{word}.{number}"),
                        reference,
                        target: Some(target),
                        wordings,
                        held_out_wordings: Vec::new(),
                        group,
                        members: Vec::new(),
                        split,
                    });
                }
            }
            let names: Vec<String> = read_json(&self.folder.join(format!("image_splits/split.{category}.val.json")))?;
            let gallery = names.iter().filter_map(|name| items.find(&self.item(name))).collect();
            triplets.galleries.insert((group, Split::Validation), gallery);
        }
        items.check(&self.folder.display().to_string(), self.skip_missing)?;
        if triplets.all.is_empty() {
            return Err(Error::invalid("recipe.triplets.categories", "no query of these categories"));
        }
        Ok(triplets)
    }
}

impl FashionIq {
    fn item(&self, name: &str) -> String {
        self.id.replace("{name}", name)
    }
}

#[cfg(test)]
mod tests {
    use super::sentences;

    /// By the rules of Python's `strip` and `capitalize`.
    #[test]
    fn captions_are_joined_as_published() {
        let found = sentences(&["is More RED., ".to_owned(), ", has Long sleeves?".to_owned()]);
        let expected =
            ["Is more red and has Long sleeves", "Has long sleeves and is More RED", "Is more red", "Has long sleeves"];
        assert_eq!(found, expected);
    }
}
