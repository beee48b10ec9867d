//! The model folder that a run starts from.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::checkpoint::failed;
use super::progress::replace;
use super::recipe::ModelRecipe;
use crate::model::card;
use crate::model::{ModelFolder, files, folder};
use crate::{Error, Result};

/// The file that pins the start's revision, so that a run which goes on later starts from the same.
const START: &str = "start.txt";
/// Where a new model is put together.
const NEW: &str = "start";

/// Finds the start, or puts a new model together in the run's folder: the text model as it is in `text/`, and in `vision/` the
/// network's configuration without weights.
///
/// # Errors
/// `NotFound` for a model, `InvalidArgument` for a configuration that is no JSON, errors of the disk.
pub(super) fn folder(recipe: &ModelRecipe, models_dir: &Path, run: &Path) -> Result<ModelFolder> {
    let named = recipe.start.as_ref().or(recipe.text.as_ref()).map_or("", String::as_str);
    let path = run.join(START);
    let pinned = match fs::read_to_string(&path) {
        Ok(pinned) => folder::resolve(models_dir, pinned.trim())?,
        Err(_) => {
            let found = folder::resolve(models_dir, named)?;
            replace(&path, format!("{}\n", found.full_name()).as_bytes())?;
            found
        }
    };
    let Some(vision) = &recipe.vision else { return Ok(pinned) };
    let start = run.join(NEW);
    for file in files::list(&pinned.path)?.into_keys().filter(|file| file != card::FILE) {
        let target = start.join("text").join(&file);
        let parent = target.parent().unwrap_or(&start);
        fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
        fs::copy(pinned.path.join(&file), &target).map_err(|error| failed(&target, &error))?;
    }
    let folder = start.join("vision");
    fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    let mut config = recipe.config.clone();
    config.insert("model_type".to_owned(), toml::Value::String("pictor_dual_encoder".to_owned()));
    write_json("config", &start.join("config.json"), &config)?;
    write_json("vision", &folder.join("config.json"), vision)?;
    if let Some(preprocessor) = &recipe.preprocessor {
        write_json("preprocessor", &folder.join("preprocessor_config.json"), preprocessor)?;
    }
    Ok(ModelFolder { name: "new".to_owned(), revision: pinned.full_name(), path: start })
}

fn write_json(key: &str, path: &Path, table: &toml::Table) -> Result<()> {
    let wrong = |error: serde_json::Error| Error::invalid(format!("recipe.model.{key}"), error.to_string());
    let json: Map<String, Value> = serde_json::to_value(table).and_then(serde_json::from_value).map_err(wrong)?;
    let text = serde_json::to_string_pretty(&json).map_err(wrong)?;
    replace(path, (text + "\n").as_bytes())
}
