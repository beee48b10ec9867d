//! The model that a run changes: towers that learn are built from live parameters, the others are loaded once.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::combiner::{Combiner, PLACE};
use super::optim::parameters::{LearningRates, learning_rates};
use super::recipe::Recipe;
use crate::encode::preprocess::{ModelPreprocessor, TextPreparer};
use crate::encode::torch::text_batch;
use crate::encode::{EncoderInput, Preprocessor, Role, TokenizedText};
use crate::image::{DecodeBudget, ImagePreparer, ImageRule};
use crate::model::observer::{Observer, Unobserved};
use crate::model::{Description, ModelFolder, NamedTensors, Network, Sides, Source};
use crate::{Error, Result};

/// Texts that go through a frozen tower at once.
const TEXTS_AT_ONCE: usize = 256;

/// A model under training.
pub struct Student {
    pub description: Description,
    /// The sides whose towers learn.
    live_sides: Sides,
    /// Every parameter and buffer of the towers that learn.
    pub tensors: NamedTensors,
    pub rates: LearningRates,
    /// What composes queries; without it they are sums of what the encoders give.
    pub combiner: Option<Combiner>,
    frozen: Network,
    pub kind: Kind,
    pub device: Device,
    preprocessor: Arc<ModelPreprocessor>,
    mean: Tensor,
    deviation: Tensor,
}

/// What a run makes of the model that it starts from.
struct Plan<'a> {
    recipe: &'a Recipe,
    models_dir: &'a Path,
}

impl Student {
    /// Reads a model's folder, or draws weights where it has none, and applies the recipe's rules.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the file or tensor at fault, `InvalidArgument` for the recipe's rules.
    pub fn new(folder: &ModelFolder, recipe: &Recipe, models_dir: &Path, kind: Kind, device: Device) -> Result<Self> {
        let plan = Plan { recipe, models_dir };
        let student = Self::open(folder, Some(&plan), kind, device)?;
        if student.rates.is_empty() {
            return Err(Error::invalid("recipe.parameters", "every parameter is frozen; nothing would be learned"));
        }
        Ok(student)
    }

    /// Reads a model that is only measured.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the file or tensor at fault.
    pub fn frozen(folder: &ModelFolder, kind: Kind, device: Device) -> Result<Self> {
        Self::open(folder, None, kind, device)
    }

    fn open(folder: &ModelFolder, plan: Option<&Plan<'_>>, kind: Kind, device: Device) -> Result<Self> {
        let description = Description::read(folder, ImageRule::Pictor)?;
        let sides = &description.sides;
        let seed = plan.map_or(0, |plan| plan.recipe.seed);
        let start = |sides: &Sides| -> Result<NamedTensors> {
            let tensors = RefCell::new(NamedTensors::default());
            let _no_gradients = tch::no_grad_guard();
            (description.architecture.load)(&description.layout, sides, &Source::start(device, seed, &tensors))?;
            Ok(tensors.into_inner())
        };
        let (only_text, only_image) = (Sides { image: None, ..sides.clone() }, Sides { text: None, ..sides.clone() });
        let texts = if sides.text.is_some() { start(&only_text)? } else { NamedTensors::default() };
        let images = if sides.image.is_some() { start(&only_image)? } else { NamedTensors::default() };
        let combiner = plan.and_then(|plan| Some((plan, plan.recipe.combiner.as_ref()?)));
        let combiner = combiner.map(|(plan, recipe)| {
            let place = (description.space.as_str(), sides.dimension);
            Combiner::new(recipe, plan.models_dir, folder, place, seed, device)
        });
        let (combiner, combining) = combiner.transpose()?.unzip();
        let combining = combining.unwrap_or_default();
        let names = texts.parameters.keys().chain(images.parameters.keys()).chain(combining.keys());
        let names: std::collections::BTreeSet<&str> = names.map(String::as_str).collect();
        let rates = match plan {
            Some(plan) => learning_rates(&plan.recipe.parameters, &names.iter().copied())?,
            None => LearningRates::new(),
        };
        // Some architectures load their texts' tensors with either side.
        let is_own = |name: &&String| !texts.parameters.contains_key(*name);
        let text_learns = texts.parameters.keys().any(|name| rates.contains_key(name));
        let image_learns = images.parameters.keys().filter(is_own).any(|name| rates.contains_key(name));
        if combiner.is_some() && (text_learns || image_learns) {
            let message = format!("a combiner learns on frozen encoders; freeze what does not begin with {PLACE}");
            return Err(Error::invalid("recipe.parameters", message));
        }
        let choose = |text: bool, image: bool| Sides {
            text: sides.text.clone().filter(|_| text),
            image: sides.image.clone().filter(|_| image),
            ..sides.clone()
        };
        let live_sides = choose(text_learns, image_learns);
        let frozen_sides = choose(!text_learns, !image_learns);
        let frozen = {
            let _no_gradients = tch::no_grad_guard();
            (description.architecture.load)(&description.layout, &frozen_sides, &Source::files(kind, device))?
        };
        let mut tensors = NamedTensors::default();
        for side in [(text_learns, texts), (image_learns, images)] {
            if side.0 {
                tensors.parameters.extend(side.1.parameters);
                tensors.buffers.extend(side.1.buffers);
                tensors.folders.extend(side.1.folders);
            }
        }
        tensors.parameters.extend(combining);
        for (name, tensor) in &mut tensors.parameters {
            *tensor = tensor.detach().copy().set_requires_grad(rates.contains_key(name));
        }
        let sentence = sides.text.as_ref().and_then(|text| text.sentence.as_ref());
        let max_tokens = sides.text.as_ref().map_or(0, |text| text.max_tokens);
        let preparer =
            description.tokenizer()?.map(|tokenizer| TextPreparer::new(tokenizer, sentence, max_tokens)).transpose()?;
        let budget = Arc::new(DecodeBudget::new(256 << 20));
        let preprocessor =
            ModelPreprocessor::new(folder.full_name(), preparer, sides.image.clone(), ImageRule::Pictor, budget)?;
        let preprocessor = Arc::new(preprocessor);
        let channels = |values: [f32; 3]| Tensor::from_slice(&values).view([1, 3, 1, 1]).to_device(device);
        let (mean, deviation) = match &sides.image {
            Some(image) => (channels(image.config.mean), channels(image.config.std)),
            None => (channels([0.0; 3]), channels([1.0; 3])),
        };
        Ok(Self {
            live_sides,
            tensors,
            rates,
            combiner,
            frozen,
            kind,
            device,
            preprocessor,
            mean,
            deviation,
            description,
        })
    }

    /// True if texts' vectors change while the run goes on.
    #[must_use]
    pub fn text_learns(&self) -> bool {
        self.live_sides.text.is_some()
    }

    /// True if pictures' vectors change while the run goes on.
    #[must_use]
    pub fn image_learns(&self) -> bool {
        self.live_sides.image.is_some()
    }

    /// Height and width of the network's pictures.
    ///
    /// # Errors
    /// `FailedPrecondition` if the model takes none.
    pub fn image_size(&self) -> Result<(usize, usize)> {
        match &self.description.sides.image {
            Some(image) => Ok((image.height as usize, image.width as usize)),
            None => Err(Error::FailedPrecondition {
                reason: "MODEL_TAKES_NO_PICTURES",
                message: format!(
                    "{} takes no pictures, but the recipe shows some",
                    self.description.folder.full_name()
                ),
            }),
        }
    }

    /// Builds the towers that learn from `tensors`, which have this student's names.
    ///
    /// # Errors
    /// `Internal` if a tensor is missing.
    pub fn network(&self, tensors: &NamedTensors, is_training: bool) -> Result<Network> {
        if !self.text_learns() && !self.image_learns() {
            return Ok(Network { text: None, image: None });
        }
        let source = Source::live(tensors, self.kind, self.device, is_training);
        let description = &self.description;
        (description.architecture.load)(&description.layout, &self.live_sides, &source)
    }

    /// Embeds pictures, float32 `[batch, 3, height, width]` from 0 to 1: float32 `[batch, dimension]`, not normalised.
    ///
    /// # Errors
    /// `FailedPrecondition` if the model takes no pictures.
    pub fn embed_images(&self, network: &Network, pixels: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let tower = network.image.as_ref().or(self.frozen.image.as_ref());
        let Some(tower) = tower else { return self.image_size().map(|_| Tensor::new()) };
        let pixels = (pixels.to_device(self.device) - &self.mean) / &self.deviation;
        Ok(tower.embed(&pixels.to_kind(self.kind), observer))
    }

    /// Embeds texts as the search does in this role: float32 `[texts, dimension]`, not normalised.
    ///
    /// # Errors
    /// `Unsupported` if the model takes no texts; what the tokenizer says.
    pub fn embed_texts(&self, network: &Network, texts: &[String], role: Role) -> Result<Tensor> {
        let side = self.description.sides.text.as_ref();
        let tower = network.text.as_ref().or(self.frozen.text.as_ref());
        let (Some(tower), Some(side)) = (tower, side) else {
            return Err(Error::Unsupported(format!("encoding texts with {}", self.description.folder.full_name())));
        };
        let tokens = texts.iter().map(|text| self.tokens(text, role)).collect::<Result<Vec<_>>>()?;
        let tokens: Vec<&TokenizedText> = tokens.iter().collect();
        Ok(tower.embed(&text_batch(&tokens, side, self.kind, self.device), &mut Unobserved))
    }

    /// Embeds any number of texts without gradient, those of similar length together.
    ///
    /// # Errors
    /// As [`Student::embed_texts`].
    pub fn embed_all_texts(&self, network: &Network, texts: &[String], role: Role) -> Result<Tensor> {
        let _no_gradients = tch::no_grad_guard();
        let dimension = self.description.sides.dimension as i64;
        if texts.is_empty() {
            return Ok(Tensor::zeros([0, dimension], (Kind::Float, self.device)));
        }
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&number| texts[number].len());
        let mut parts = Vec::new();
        for chunk in order.chunks(TEXTS_AT_ONCE) {
            let chunk: Vec<String> = chunk.iter().map(|&number| texts[number].clone()).collect();
            parts.push(self.embed_texts(network, &chunk, role)?);
        }
        let mut places = vec![0_i64; order.len()];
        for (place, number) in order.into_iter().enumerate() {
            places[number] = place as i64;
        }
        Ok(Tensor::cat(&parts, 0).index_select(0, &Tensor::from_slice(&places).to_device(self.device)))
    }

    /// Composes queries of pictures and texts, both as the encoders give them: normalised float32 `[batch, dimension]`. Without a
    /// combiner they are added at their own lengths (CLIP4Cir's first stage, arXiv 2308.11485, §3.1); with a `seed` a combiner leaves
    /// activations out.
    ///
    /// # Errors
    /// `Internal` if a tensor is missing.
    pub fn compose(
        &self,
        tensors: &NamedTensors,
        images: &Tensor,
        texts: &Tensor,
        seed: Option<u64>,
    ) -> Result<Tensor> {
        match &self.combiner {
            Some(combiner) => combiner.compose(&tensors.parameters, images, texts, seed),
            None => Ok(normalise(&(images.to_kind(Kind::Float) + texts.to_kind(Kind::Float)))),
        }
    }

    /// Composes as [`Student::compose`] through a combiner whose weights are new; `None` without a combiner.
    ///
    /// # Errors
    /// `Internal` if a tensor is missing.
    pub fn compose_untrained(&self, images: &Tensor, texts: &Tensor) -> Result<Option<Tensor>> {
        let Some(combiner) = &self.combiner else { return Ok(None) };
        combiner.compose(&combiner.new_tensors(0, self.device), images, texts, None).map(Some)
    }

    /// What resizes and crops pictures for this model, if it takes some.
    ///
    /// # Errors
    /// Those of the configuration.
    pub fn image_preparer(&self) -> Result<Option<ImagePreparer>> {
        let image = self.description.sides.image.as_ref();
        image.map(|image| ImagePreparer::new(image.config.clone(), ImageRule::Pictor)).transpose()
    }

    /// What prepares pictures for this model.
    #[must_use]
    pub fn preprocessor(&self) -> Arc<dyn Preprocessor> {
        Arc::clone(&self.preprocessor) as Arc<dyn Preprocessor>
    }

    fn tokens(&self, text: &str, role: Role) -> Result<TokenizedText> {
        match self.preprocessor.text(text, role)? {
            EncoderInput::Text(tokens) => Ok(tokens),
            EncoderInput::Image(_) => Err(Error::Internal("a text became a picture".to_owned())),
        }
    }
}

/// Rows of length 1.
pub fn normalise(rows: &Tensor) -> Tensor {
    let rows = rows.to_kind(Kind::Float);
    let lengths = rows.norm_scalaropt_dim(2.0, [-1_i64].as_slice(), true).clamp_min(1e-12);
    rows / lengths
}
