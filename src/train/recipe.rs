//! A training run as a file: TOML that names registered pieces. Unknown keys are errors.

use serde::{Deserialize, Serialize};

use super::piece::Settings;
use crate::encode::Role;
use crate::model::combiner::CombinerFeatures;
use crate::types::names::check_name;
use crate::{Error, Result};

/// A parsed recipe. The tables of pieces are read by the pieces.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What the resulting model is called.
    pub name: String,
    #[serde(default)]
    pub seed: u64,
    pub corpus: CorpusRecipe,
    /// What an item's texts are; without any, the run sees no texts.
    #[serde(default)]
    pub captions: CaptionsRecipe,
    pub split: SplitRecipe,
    /// Composed queries: a picture, a change in words, the picture that is meant.
    pub triplets: Option<toml::Table>,
    pub model: ModelRecipe,
    /// A network that composes queries, learned beside or on top of the encoders.
    pub combiner: Option<CombinerRecipe>,
    pub run: RunRecipe,
    pub sampler: toml::Table,
    #[serde(default)]
    pub augment: Vec<toml::Table>,
    pub views: toml::Table,
    pub targets: Option<toml::Table>,
    pub objective: Vec<toml::Table>,
    pub parameters: Vec<ParameterRule>,
    pub optimiser: toml::Table,
    pub schedule: toml::Table,
    pub ema: Option<EmaRecipe>,
    /// The share of the trained weights in the mean with the start's (WiSE-FT, arXiv 2109.01903); 1 keeps them as they are.
    pub average: Option<f64>,
    pub patch_drop: Option<PatchDropRecipe>,
    #[serde(default)]
    pub eval: Vec<toml::Table>,
    pub stop: Option<StopRecipe>,
    /// What becomes of the result where a server runs the recipe; without it, nothing that is served changes.
    pub switch: Option<SwitchRecipe>,
}

/// Which items a run learns from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusRecipe {
    pub collection: String,
    /// Items that the run sees at all, for training or for evaluation.
    #[serde(default)]
    pub filter: String,
    /// Of those, the ones that it may train on.
    #[serde(default)]
    pub train_filter: String,
    /// The payload path that tells which items show the same thing. Without it, items with the same texts do.
    pub concept: Option<String>,
    /// The payload path that tells whose drawing it is.
    pub domain: Option<String>,
    /// Payload paths of words that say what an item's picture shows beside its concept.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// The payload path of a boolean that allows mirroring; without it every picture may be mirrored.
    pub flippable: Option<String>,
    /// Take thumbnails where the originals are not kept.
    #[serde(default)]
    pub allow_thumbnails: bool,
}

/// How a text is drawn for an item.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaptionsRecipe {
    /// Which side of a search the texts stand on, for encoders with prompts; queries unless it says otherwise.
    #[serde(default)]
    pub role: CaptionRole,
    /// A drawn text with fewer words is replaced by the first source's (LaCLIP, arXiv 2305.20088, uses 2).
    #[serde(default)]
    pub min_words: usize,
    /// Texts drawn for each item before the run if the text tower is frozen.
    pub variants: Option<usize>,
    #[serde(default)]
    pub from: Vec<CaptionSource>,
    /// Gives each trained item another's texts: the control that a run learns from what the texts say.
    #[serde(default)]
    pub shuffled: bool,
}

/// Which side of a search a text of a recipe stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptionRole {
    /// What people ask pictures with.
    #[default]
    Query,
    /// What is stored and found.
    Document,
}

impl From<CaptionRole> for Role {
    fn from(role: CaptionRole) -> Self {
        match role {
            CaptionRole::Query => Self::Query,
            CaptionRole::Document => Self::Document,
        }
    }
}

/// One kind of text.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaptionSource {
    /// `texts.NAME`, or a payload path behind `payload.`; a list gives several.
    pub path: String,
    /// How often it is drawn, relative to the other sources that the item has.
    #[serde(default = "one")]
    pub share: f64,
    /// Sentences with `{}` where the text goes.
    #[serde(default)]
    pub templates: Vec<String>,
    /// Joins between so many of the list's texts with commas, drawn without repetition, instead of taking one.
    pub join: Option<[usize; 2]>,
}

fn one() -> f64 {
    1.0
}

/// How items are divided. Items of one family are never apart.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRecipe {
    /// The payload path of the family; without it the concept is the family.
    pub family: Option<String>,
    /// The payload path that says `train`, `validation` or `test` itself, instead of the hash.
    pub key: Option<String>,
    #[serde(default)]
    pub salt: String,
    #[serde(default)]
    pub validation: f64,
    #[serde(default)]
    pub test: f64,
}

/// Where the run starts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// NAME or NAME@REVISION of the model to go on from. In a recipe with a `switch` a server puts the model that the field is
    /// served with in the place of `current`.
    pub start: Option<String>,
    /// A new image network beside this sentence encoder, instead of `start`.
    pub text: Option<String>,
    /// The new network's `config.json`.
    pub vision: Option<toml::Table>,
    /// The new network's `preprocessor_config.json`.
    pub preprocessor: Option<toml::Table>,
    /// The new model's `config.json` beside `model_type`.
    #[serde(default)]
    pub config: toml::Table,
    /// `f32`, `f16` or `bf16` of weights that are written; without it as the start's, float32 for new ones.
    pub save: Option<String>,
    /// The model whose space the result writes to, if the run taught it that; it must name a model with the same dimension.
    pub space_of: Option<String>,
}

/// How long and how large.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecipe {
    /// 0 measures and trains nothing.
    pub steps: u64,
    /// Rows of a step: items or concepts, as the sampler has it.
    pub batch: usize,
    /// Parts that a step's rows go through the network in. The loss sees all rows at once, so that parts change nothing but
    /// batch norms (Gao et al., arXiv 2101.06983).
    #[serde(default = "one_part")]
    pub parts: usize,
    /// `auto`, `f32` or `bf16`; parameters are float32 in any case.
    #[serde(default = "auto")]
    pub dtype: String,
    /// True keeps the running statistics of batch norms as they are and computes with them.
    #[serde(default)]
    pub freeze_batch_norm: bool,
    #[serde(default)]
    pub eval_every: u64,
    #[serde(default = "default_checkpoint_every")]
    pub checkpoint_every: u64,
}

fn one_part() -> usize {
    1
}

fn auto() -> String {
    "auto".to_owned()
}

fn default_checkpoint_every() -> u64 {
    200
}

/// The Combiner of CLIP4Cir (arXiv 2308.11485, §3.2); its defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CombinerRecipe {
    /// NAME or NAME@REVISION of a Combiner to go on from; its sizes count then.
    pub start: Option<String>,
    /// Width of the projections, times the dimension.
    #[serde(default = "four")]
    pub projection: f64,
    /// Width of the hidden layers, times the dimension.
    #[serde(default = "eight")]
    pub hidden: f64,
    /// The share of activations that a step leaves out, 0 to 1 (exclusive).
    #[serde(default = "half")]
    pub dropout: f64,
    #[serde(default)]
    pub features: CombinerFeatures,
}

fn four() -> f64 {
    4.0
}

fn eight() -> f64 {
    8.0
}

fn half() -> f64 {
    0.5
}

/// What becomes of the parameters whose names match; the first rule that matches counts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterRule {
    /// A regular expression over names such as `vision/encoder.layer.0.output.dense.weight`.
    #[serde(rename = "match")]
    pub pattern: String,
    #[serde(default)]
    pub frozen: bool,
    /// Times the run's learning rate.
    #[serde(default = "one")]
    pub lr: f64,
    /// Times this for each layer below the last (layer-wise decay).
    pub layer_decay: Option<f64>,
}

/// A mean of the parameters over the steps, which is evaluated and kept in their place.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EmaRecipe {
    pub decay: f64,
}

/// Patches that a vision transformer does not see while it trains (FLIP, arXiv 2212.00794).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PatchDropRecipe {
    /// Of the patches, 0 to 1 (exclusive).
    pub share: f64,
    /// The share of the steps, at the end, that see all patches.
    #[serde(default)]
    pub unmasked_tail: f64,
}

/// Ends a run whose held-out figure does not rise any more, and keeps the best weights.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StopRecipe {
    /// An evaluator's figure, such as `held-out.R@1`; higher is better.
    pub metric: String,
    /// Evaluations without a rise after which the run ends; without it the run goes on and only keeps the best.
    pub patience: Option<u32>,
}

/// Puts the result to use if it is better than the model that a field is served with, which is what the run starts from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchRecipe {
    /// The field that is embedded again; empty means the collection's default field.
    #[serde(default)]
    pub field: String,
    /// An evaluator's recall, such as `held-out.R@10`, over queries that the run does not learn from.
    pub metric: String,
    /// How much it has to rise, 0 to 1.
    pub margin: f64,
}

impl SwitchRecipe {
    /// The evaluator and the K of its `R@K`.
    ///
    /// # Errors
    /// `InvalidArgument` for another figure.
    pub fn recall(&self) -> Result<(&str, usize)> {
        let parts = self.metric.rsplit_once(".R@").and_then(|(name, k)| Some((name, k.parse().ok()?)));
        let message = || format!("expected an evaluator's recall, such as held-out.R@10, found {:?}", self.metric);
        parts.ok_or_else(|| Error::invalid("recipe.switch.metric", message()))
    }
}

impl Recipe {
    /// Parses and checks what can be checked without corpus and model.
    ///
    /// # Errors
    /// `InvalidArgument` for the place in the recipe.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or_else(String::new, |span| {
                format!("line {}: ", 1 + text[..span.start.min(text.len())].matches('\n').count())
            });
            Error::invalid("recipe", format!("{place}{}", error.message()))
        })?;
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<()> {
        check_name("recipe.name", &self.name)?;
        let within = |place: &str, value: f64, low: f64, high: f64| {
            let settings = Settings { place: place.to_owned(), ..Settings::default() };
            settings.within("value", value, low, high).map_err(|_| {
                Error::invalid(format!("recipe.{place}"), format!("expected {low} to {high}, found {value}"))
            })
        };
        within("run.steps", self.run.steps as f64, 0.0, 1e9)?;
        within("run.batch", self.run.batch as f64, 2.0, 65_536.0)?;
        within("run.parts", self.run.parts as f64, 1.0, self.run.batch as f64)?;
        within("split.validation", self.split.validation, 0.0, 0.9)?;
        within("split.test", self.split.test, 0.0, 0.9)?;
        within("split.validation + split.test", self.split.validation + self.split.test, 0.0, 0.95)?;
        if let Some(ema) = &self.ema {
            within("ema.decay", ema.decay, 0.0, 1.0 - 1e-9)?;
        }
        if let Some(share) = self.average {
            within("average", share, 0.0, 1.0)?;
        }
        if let Some(combiner) = &self.combiner {
            within("combiner.projection", combiner.projection, 1e-3, 64.0)?;
            within("combiner.hidden", combiner.hidden, 1e-3, 64.0)?;
            within("combiner.dropout", combiner.dropout, 0.0, 1.0 - 1e-6)?;
            if self.triplets.is_none() {
                return Err(Error::invalid(
                    "recipe.triplets",
                    "a combiner learns from composed queries; say where they are",
                ));
            }
            if self.switch.is_some() {
                let message = "a combiner is no encoder to embed a field with; choose it as the field's composer";
                return Err(Error::invalid("recipe.switch", message));
            }
            if self.model.start.is_none() {
                return Err(Error::invalid(
                    "recipe.model.start",
                    "a combiner learns on the vectors of a model; name it",
                ));
            }
        }
        if let Some(drop) = &self.patch_drop {
            within("patch_drop.share", drop.share, 0.0, 1.0 - 1e-6)?;
            within("patch_drop.unmasked_tail", drop.unmasked_tail, 0.0, 1.0)?;
        }
        for (number, source) in self.captions.from.iter().enumerate() {
            let place = format!("captions.from[{number}]");
            within(&format!("{place}.share"), source.share, 1e-9, 1e9)?;
            if !source.path.starts_with("texts.") && !source.path.starts_with("payload.") {
                let message = format!("expected texts.NAME or payload.PATH, found {:?}", source.path);
                return Err(Error::invalid(format!("recipe.{place}.path"), message));
            }
            if let Some(template) = source.templates.iter().find(|template| !template.contains("{}")) {
                let message = format!("{template:?} has no {{}} where the text goes");
                return Err(Error::invalid(format!("recipe.{place}.templates"), message));
            }
            if let Some([low, high]) = source.join
                && (low == 0 || low > high)
            {
                let message = format!("expected [least, most] with 1 <= least <= most, found [{low}, {high}]");
                return Err(Error::invalid(format!("recipe.{place}.join"), message));
            }
        }
        match (&self.model.start, &self.model.text, &self.model.vision) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            _ => {
                let message = "give either start (a model to go on from), or text and vision (a new image network)";
                return Err(Error::invalid("recipe.model", message));
            }
        }
        if self.objective.is_empty() {
            return Err(Error::invalid("recipe.objective", "expected at least one [[objective]] with a term"));
        }
        if let Some(stop) = &self.stop
            && self.run.eval_every == 0
        {
            let message = format!("run.eval_every is 0, so {} is never measured", stop.metric);
            return Err(Error::invalid("recipe.stop.metric", message));
        }
        if let Some(switch) = &self.switch {
            within("switch.margin", switch.margin, 0.0, 1.0)?;
            let (evaluator, _) = switch.recall()?;
            if self.stop.as_ref().is_some_and(|stop| stop.metric.starts_with(&format!("{evaluator}."))) {
                let message =
                    format!("{evaluator} also decides when to stop; compare on queries that decide nothing else");
                return Err(Error::invalid("recipe.switch.metric", message));
            }
            if self.model.start.is_none() {
                return Err(Error::invalid("recipe.switch", "expected model.start: what the field is served with"));
            }
        }
        Ok(())
    }
}

/// The tables of a list with their places, such as `eval[1]`.
#[must_use]
pub fn tables(name: &str, tables: &[toml::Table]) -> Vec<Settings> {
    let settings = |(number, table): (usize, &toml::Table)| Settings {
        place: format!("recipe.{name}[{number}]"),
        table: table.clone(),
    };
    tables.iter().enumerate().map(settings).collect()
}

/// A table with its place.
#[must_use]
pub fn table(name: &str, table: &toml::Table) -> Settings {
    Settings { place: format!("recipe.{name}"), table: table.clone() }
}
