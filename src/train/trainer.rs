//! The one training loop: from a recipe and a frozen corpus to a model revision.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::agreement::Teacher;
use super::augment::Augmenter;
use super::checkpoint::{self, RunState, behind, failed};
use super::data::image_pool::ImagePool;
use super::data::text_pool::TextPool;
use super::data::{Corpus, Pictures};
use super::eval::comparison::Comparison;
use super::eval::{self, Evaluator, Subject};
use super::optim::adamw::{AdamW, AdamWSettings, Rate};
use super::optim::average::{copy, follow, mix};
use super::optim::schedule::Schedule;
use super::progress::{Line, Reporter, replace, to_json};
use super::recipe::{Recipe, SwitchRecipe, table, tables};
use super::result::{self, NewRevision};
use super::step::{StepContext, WeightedTerm};
use super::student::{Student, normalise};
use super::{combiner, loss, piece, plot, sampler, start, targets, views};
use crate::model::device::device_name;
use crate::model::observer::Unobserved;
use crate::model::{DeviceChoice, NamedTensors, PrecisionChoice, folder};
use crate::resources::Resources;
use crate::store::{Store, StoreSettings};
use crate::{Error, Result};

/// Steps between two lines of metrics.
const LOG_EVERY: u64 = 10;
const RECIPE: &str = "recipe.toml";
/// The rank of the first right answer to each query of each evaluator, for comparisons of runs in pairs.
const RANKS: &str = "ranks.json";

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    /// The recipe's text.
    pub recipe: String,
    /// A data folder that nobody else has open: a checkpoint of a store, or a stopped server's.
    pub corpus: PathBuf,
    pub models_dir: PathBuf,
    /// The run's folder; one with a checkpoint goes on from it.
    pub run: PathBuf,
    pub device: DeviceChoice,
    pub resources: Resources,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Finished(Finished),
    /// It was asked to stop, wrote a checkpoint and can go on.
    Stopped,
}

/// A finished run; `result.json` in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// NAME@REVISION.
    pub model: String,
    pub metrics: BTreeMap<String, f64>,
    /// The start's figures and what came of them, if the recipe has a `switch`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// What the card says of the run.
#[derive(Serialize)]
struct Trained<'a> {
    recipe: &'a str,
    seed: u64,
    start: String,
    steps: u64,
    kept_step: u64,
    collection: &'a str,
    collection_version: u64,
    items: usize,
    trained_items: usize,
    corpus_digest: &'a str,
    metrics: &'a BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<&'a Comparison>,
    device: String,
    threads: usize,
    seconds: f64,
    program: &'static str,
}

/// Runs a recipe to its end, or until `stop` becomes true.
///
/// # Errors
/// `InvalidArgument` for the recipe; `FailedPrecondition` for corpus, model or a run that began with others; errors of the disk.
pub fn train(request: &TrainRequest, stop: &AtomicBool) -> Result<Outcome> {
    let recipe = Recipe::parse(&request.recipe)?;
    begin(&request.run, &request.recipe)?;
    tch::set_num_threads(i32::try_from(request.resources.threads).unwrap_or(i32::MAX));
    let device = request.device.resolve()?;
    let dtype: PrecisionChoice = recipe.run.dtype.parse().map_err(|error: Error| error.within("recipe.run"))?;
    let kind = dtype.resolve(device)?.kind();
    let store_bytes = (request.resources.store_bytes as usize).min(256 << 20);
    let store = Store::open(&request.corpus, &StoreSettings { memory_bytes: store_bytes, ..StoreSettings::default() })?;
    let mut corpus = Corpus::read(&store, &recipe)?;

    let views = piece::build(views::ALL, "kind", table("views", &recipe.views))?;
    // The texts of composed queries are their wordings.
    let shows_captions = views.n_texts() > 0 && corpus.triplets.is_none();
    corpus.keep_usable(views.n_pictures() > 0, shows_captions)?;
    let start = start::folder(&recipe.model, &request.models_dir, &request.run)?;
    let mut student = Student::new(&start, &recipe, &request.models_dir, kind, device)?;
    let takes_pictures = student.description.sides.image.is_some();
    let picture_bytes = (request.resources.memory_bytes / 8) as usize;
    let size = if takes_pictures { student.image_size()? } else { (1, 1) };
    let augmenter = Augmenter::new(tables("augment", &recipe.augment), size)?;
    let preparer = student.image_preparer()?;
    let pictures = Pictures::new(&corpus, student.preprocessor(), preparer, augmenter, size, picture_bytes);
    let mut sampler =
        piece::build(sampler::ALL, "kind", table("sampler", &recipe.sampler))?.bind(&corpus, recipe.seed)?;
    let evaluators: Vec<Box<dyn Evaluator>> = tables("eval", &recipe.eval)
        .into_iter()
        .map(|settings| piece::build(eval::ALL, "evaluator", settings))
        .collect::<Result<_>>()?;
    let target_source = recipe
        .targets
        .as_ref()
        .map(|settings| piece::build(targets::ALL, "kind", table("targets", settings))?.bind(&corpus, device))
        .transpose()?;
    let optimiser_settings = AdamWSettings::read(&table("optimiser", &recipe.optimiser))?;
    let schedule = Schedule::read(&table("schedule", &recipe.schedule))?;
    let mut terms = terms(&recipe)?;

    let restored = checkpoint::read(&request.run, device)?;
    let teacher = recipe
        .model
        .space_of
        .as_ref()
        .map(|name| Teacher::open(&folder::resolve(&request.models_dir, name)?, &student, &corpus))
        .transpose()?;
    let mut state = match &restored {
        Some((state, _)) if state.digest != corpus.digest => {
            return Err(Error::FailedPrecondition {
                reason: "CORPUS_CHANGED",
                message: format!("{} began with another corpus; start a new run", request.run.display()),
            });
        }
        Some((state, _)) => state.clone(),
        None => RunState { digest: corpus.digest.clone(), logged: (0, vec![0.0; terms.len()]), ..RunState::default() },
    };
    let mut reporter = Reporter::open(&request.run, state.step, recipe.run.steps)?;
    reporter.tell("encoding texts")?;
    let pool = match shows_captions && !student.text_learns() {
        true => {
            let network = tch::no_grad(|| student.network(&student.tensors, false))?;
            let role = recipe.captions.role.into();
            let mut encode = |texts: &[String]| Ok(normalise(&student.embed_all_texts(&network, texts, role)?));
            Some(TextPool::new(&corpus, recipe.captions.variants, recipe.seed, &mut encode)?)
        }
        false => None,
    };
    let wordings = match &corpus.triplets {
        Some(triplets) if !student.text_learns() => {
            let network = tch::no_grad(|| student.network(&student.tensors, false))?;
            Some(student.embed_all_texts(&network, &triplets.texts, recipe.captions.role.into())?)
        }
        _ => None,
    };
    let images = match views.n_pictures() > 0 && !student.image_learns() && recipe.augment.is_empty() {
        true => {
            reporter.tell("encoding pictures")?;
            Some(image_pool(&corpus, &pictures, &student)?)
        }
        false => None,
    };
    let context = StepContext {
        corpus: &corpus,
        pictures: &pictures,
        views: &*views,
        pool,
        wordings,
        images,
        targets: target_source,
        role: recipe.captions.role.into(),
        seed: recipe.seed,
        run: recipe.run.clone(),
        patch_drop: recipe.patch_drop.clone(),
    };
    let n_rows = recipe.run.batch;
    // What terms make of the first step must be the same where a run goes on.
    let first_rows = sampler.rows(0, n_rows);
    if corpus.triplets.is_some() && first_rows.iter().any(|row| row.triplet.is_none()) {
        let message = "the recipe has composed queries, which sampler.kind = \"triplets\" shows";
        return Err(Error::invalid("recipe.sampler", message));
    }
    let counted = copy(&student.tensors);
    context.start_scalars(&context.batch(0, &first_rows, &student)?, &student, &mut terms)?;
    put_back(&mut student.tensors.buffers, &counted.buffers);
    let baseline = match &recipe.switch {
        Some(rule) => {
            reporter.tell("measuring the start")?;
            let pictures = takes_pictures.then_some(&pictures);
            let measured = figures(&corpus, pictures, &student, &student.tensors, &evaluators, true)?;
            check_switch(rule, &measured)?;
            Some((rule, measured))
        }
        None => None,
    };
    let mut optimiser = AdamW::new(optimiser_settings);
    let mut ema = recipe.ema.as_ref().map(|_| copy(&student.tensors));
    let mut best: Option<NamedTensors> = None;
    if let Some((_, tensors)) = &restored {
        put_back(&mut student.tensors.parameters, &behind("p/", tensors));
        put_back(&mut student.tensors.buffers, &behind("b/", tensors));
        let scalars = behind("s/", tensors);
        terms.iter_mut().for_each(|term| restore_scalars(term, &scalars));
        optimiser.restore(state.optimiser_steps, behind("o/", tensors));
        if let Some(ema) = &mut ema {
            put_back(&mut ema.parameters, &behind("ema/p/", tensors));
            put_back(&mut ema.buffers, &behind("ema/b/", tensors));
        }
        if state.best.is_some_and(|(_, step)| step > 0 || recipe.stop.is_some()) {
            let mut kept = copy(&student.tensors);
            put_back(&mut kept.parameters, &behind("best/p/", tensors));
            put_back(&mut kept.buffers, &behind("best/b/", tensors));
            best = Some(kept);
        }
    }
    let seconds_before = state.seconds;
    let clock = Instant::now();
    let measure = |student: &Student, tensors: &NamedTensors, at_end: bool| {
        let pictures = takes_pictures.then_some(&pictures);
        figures(&corpus, pictures, student, tensors, &evaluators, at_end)
    };
    let mut is_over = false;
    loop {
        let is_evaluated = recipe.run.eval_every > 0
            && (state.step % recipe.run.eval_every == 0 || state.step == recipe.run.steps)
            && restored.as_ref().is_none_or(|(restored, _)| restored.step != state.step || state.step == 0);
        if is_evaluated && !evaluators.is_empty() {
            reporter.tell("measuring")?;
            let values = measure(&student, ema.as_ref().unwrap_or(&student.tensors), false)?.figures;
            if let Some(rule) = &recipe.stop {
                let value = values.get(&rule.metric).copied().ok_or_else(|| {
                    let known: Vec<_> = values.keys().collect();
                    let message = format!("no evaluator gives {:?}; there are {known:?}", rule.metric);
                    Error::invalid("recipe.stop.metric", message)
                })?;
                if state.best.is_none_or(|(best, _)| value > best) {
                    state.best = Some((value, state.step));
                    state.evaluations_without_rise = 0;
                    best = Some(copy(ema.as_ref().unwrap_or(&student.tensors)));
                } else {
                    state.evaluations_without_rise += 1;
                    is_over = rule.patience.is_some_and(|patience| state.evaluations_without_rise >= patience);
                }
            }
            let seconds = seconds_before + clock.elapsed().as_secs_f64();
            reporter.record(&Line { step: state.step, kind: "eval".to_owned(), values, seconds })?;
            plot::write(&request.run, &recipe.name)?;
        }
        is_over |= state.step >= recipe.run.steps;
        let is_asked_to_stop = stop.load(Ordering::Relaxed);
        if is_over || is_asked_to_stop || (state.step > 0 && state.step % recipe.run.checkpoint_every.max(1) == 0) {
            state.seconds = seconds_before + clock.elapsed().as_secs_f64();
            let (steps, moments) = optimiser.state();
            state.optimiser_steps = steps;
            let tensors = all_tensors(&student.tensors, ema.as_ref(), best.as_ref(), &terms, moments);
            checkpoint::write(&request.run, &state, &tensors)?;
        }
        if is_over {
            break;
        }
        if is_asked_to_stop {
            reporter.tell("stopped")?;
            return Ok(Outcome::Stopped);
        }
        let rows = sampler.rows(state.step * n_rows as u64, n_rows);
        let batch = context.batch(state.step, &rows, &student)?;
        let values = context.backward(&batch, &student, &mut terms)?;
        let lr = optimiser.settings().lr * schedule.share(state.step, recipe.run.steps);
        let norm = move_all(&mut student, &mut terms, &mut optimiser, lr)?;
        state.step += 1;
        if let (Some(ema), Some(rule)) = (&mut ema, &recipe.ema) {
            follow(ema, &student.tensors, rule.decay, state.step);
        }
        state.logged.0 += 1;
        state.logged.1.iter_mut().zip(&values).for_each(|(sum, value)| *sum += value);
        if state.step.is_multiple_of(LOG_EVERY) || state.step == recipe.run.steps {
            let seconds = seconds_before + clock.elapsed().as_secs_f64();
            let values = line_values(&mut state, &terms, lr, norm);
            reporter.record(&Line { step: state.step, kind: "train".to_owned(), values, seconds })?;
        }
        let done = (state.step - restored.as_ref().map_or(0, |(restored, _)| restored.step)) as f64;
        let pace = done / clock.elapsed().as_secs_f64().max(1e-9);
        reporter.progress.step = state.step;
        let rates =
            [("rows_per_second", pace * n_rows as f64), ("eta_seconds", (recipe.run.steps - state.step) as f64 / pace)];
        reporter.progress.metrics.extend(rates.map(|(name, value)| (name.to_owned(), value)));
        reporter.tell("training")?;
    }

    reporter.tell("measuring the result")?;
    let mut last = best.unwrap_or_else(|| copy(ema.as_ref().unwrap_or(&student.tensors)));
    if let Some(share) = recipe.average {
        let mut mean = copy(&Student::new(&start, &recipe, &request.models_dir, kind, device)?.tensors);
        mix(&mut mean, &last, share);
        last = mean;
    }
    let Figures { figures: metrics, ranks, files, .. } = measure(&student, &last, true)?;
    for (name, content) in &files {
        replace(&request.run.join(name), content.as_bytes())?;
    }
    let (before, comparison) = match baseline {
        Some((rule, before)) => {
            let compared = compare(rule, recipe.seed, &before.ranks, &ranks)?;
            (before.figures, Some(compared))
        }
        None => (BTreeMap::new(), None),
    };
    replace(&request.run.join(RANKS), to_json(&ranks).as_bytes())?;
    let seconds = seconds_before + clock.elapsed().as_secs_f64();
    reporter.record(&Line { step: state.step, kind: "result".to_owned(), values: metrics.clone(), seconds })?;
    plot::write(&request.run, &recipe.name)?;
    let agreement = match &teacher {
        Some(teacher) => {
            let network = student.network(&last, false)?;
            let subject = Subject::new(&corpus, takes_pictures.then_some(&pictures), &student, &network, &last);
            Some(teacher.agreement(&subject, recipe.captions.role, picture_bytes)?)
        }
        None => None,
    };
    let trained = Trained {
        recipe: &request.recipe,
        seed: recipe.seed,
        start: start.full_name(),
        steps: state.step,
        kept_step: state.best.map_or(state.step, |(_, step)| step),
        collection: &recipe.corpus.collection,
        collection_version: corpus.version,
        items: corpus.examples.len(),
        trained_items: corpus.trained().count(),
        corpus_digest: &corpus.digest,
        metrics: &metrics,
        comparison: comparison.as_ref(),
        device: device_name(device),
        threads: request.resources.threads,
        seconds,
        program: env!("CARGO_PKG_VERSION"),
    };
    let facts = result::facts(&trained);
    let model = match &student.combiner {
        _ if recipe.run.steps == 0 => start.full_name(),
        Some(combiner) => {
            let new = result::NewCombiner {
                models_dir: &request.models_dir,
                name: &recipe.name,
                config: &combiner.config,
                tensors: behind(combiner::PLACE, &last.parameters),
                save: recipe.model.save.as_deref(),
                facts,
            };
            result::write_combiner(new)?.full_name()
        }
        None => {
            let new = NewRevision {
                models_dir: &request.models_dir,
                name: &recipe.name,
                start: &start,
                tensors: &last,
                save: recipe.model.save.as_deref(),
                space: teacher.as_ref().map(Teacher::space),
                agreement,
                facts,
            };
            result::write(&new)?.full_name()
        }
    };
    let finished = Finished { model, metrics, before, comparison };
    replace(&request.run.join("result.json"), to_json(&finished).as_bytes())?;
    reporter.tell("finished")?;
    Ok(Outcome::Finished(finished))
}

/// Encodes every picture that the run learns from.
fn image_pool(corpus: &Corpus, pictures: &Pictures<'_>, student: &Student) -> Result<ImagePool> {
    let _no_gradients = tch::no_grad_guard();
    let network = student.network(&student.tensors, false)?;
    let examples: Vec<usize> = corpus.trained().filter(|&number| corpus.examples[number].has_picture()).collect();
    ImagePool::new(&examples, corpus, student.device, &mut |examples| {
        student.embed_images(&network, &pictures.prepared(examples)?, &mut Unobserved)
    })
}

/// Makes the run's folder, or checks that it belongs to this recipe.
fn begin(run: &Path, recipe: &str) -> Result<()> {
    fs::create_dir_all(run).map_err(|error| failed(run, &error))?;
    let path = run.join(RECIPE);
    match fs::read_to_string(&path) {
        Ok(stored) if stored == recipe => Ok(()),
        Ok(_) => Err(Error::FailedPrecondition {
            reason: "RUN_OF_ANOTHER_RECIPE",
            message: format!("{} holds a run of another recipe; choose another folder", run.display()),
        }),
        Err(_) => replace(&path, recipe.as_bytes()),
    }
}

/// Builds the objective's terms; a term that stands twice is told apart by its place.
fn terms(recipe: &Recipe) -> Result<Vec<WeightedTerm>> {
    let mut terms: Vec<WeightedTerm> = Vec::new();
    for (number, mut settings) in tables("objective", &recipe.objective).into_iter().enumerate() {
        let weight = match settings.table.remove("weight") {
            None => 1.0,
            Some(toml::Value::Float(weight)) => weight,
            Some(toml::Value::Integer(weight)) => weight as f64,
            Some(other) => return Err(settings.invalid(format!("weight: expected a number, found {other}"))),
        };
        settings.within("weight", weight, 0.0, 1e9)?;
        let name = settings.table.get("term").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let is_taken = terms.iter().any(|term| term.name == name);
        let name = if is_taken { format!("{name}_{number}") } else { name };
        let term = piece::build(loss::ALL, "term", settings)?;
        terms.push(WeightedTerm { name, weight, term, scalars: Vec::new() });
    }
    Ok(terms)
}

type Ranks = BTreeMap<String, BTreeMap<String, usize>>;

/// What the evaluators found, by their names.
struct Figures {
    figures: BTreeMap<String, f64>,
    ranks: Ranks,
    trained_queries: BTreeMap<String, usize>,
    files: Vec<(String, String)>,
}

/// Accepts the figure that decides a switch before time is spent on training.
fn check_switch(rule: &SwitchRecipe, start: &Figures) -> Result<()> {
    let (evaluator, _) = rule.recall()?;
    if !start.figures.contains_key(&rule.metric) {
        let known: Vec<_> = start.figures.keys().filter(|name| name.contains(".R@")).collect();
        let message = format!("no evaluator gives {:?}; there are {known:?}", rule.metric);
        return Err(Error::invalid("recipe.switch.metric", message));
    }
    match start.trained_queries.get(evaluator) {
        Some(0) | None => Ok(()),
        Some(n) => {
            let message = format!(
                "{n} of {evaluator}'s queries are learned from; hold them out, for instance with query.split = \"test\""
            );
            Err(Error::invalid("recipe.switch.metric", message))
        }
    }
}

fn compare(rule: &SwitchRecipe, seed: u64, before: &Ranks, after: &Ranks) -> Result<Comparison> {
    let (evaluator, k) = rule.recall()?;
    let of = |ranks: &Ranks| ranks.get(evaluator).cloned().unwrap_or_default();
    Ok(Comparison::of(&rule.metric, k, rule.margin, seed, &of(before), &of(after)))
}

fn figures(
    corpus: &Corpus,
    pictures: Option<&Pictures<'_>>,
    student: &Student,
    tensors: &NamedTensors,
    evaluators: &[Box<dyn Evaluator>],
    at_end: bool,
) -> Result<Figures> {
    let _no_gradients = tch::no_grad_guard();
    let network = student.network(tensors, false)?;
    let subject = Subject::new(corpus, pictures, student, &network, tensors);
    let (mut all, mut ranks, mut trained_queries) = (BTreeMap::new(), Ranks::new(), BTreeMap::new());
    let mut files = Vec::new();
    for evaluator in evaluators.iter().filter(|evaluator| at_end || !evaluator.is_for_the_end()) {
        let measured = evaluator.measure(&subject)?;
        all.extend(measured.figures.into_iter().map(|(name, value)| (format!("{}.{name}", evaluator.name()), value)));
        trained_queries.insert(evaluator.name().to_owned(), measured.trained_queries);
        files.extend(measured.files);
        ranks.insert(evaluator.name().to_owned(), measured.ranks.into_iter().collect());
    }
    Ok(Figures { figures: all, ranks, trained_queries, files })
}

/// One step of the optimiser over parameters and scalars.
fn move_all(student: &mut Student, terms: &mut [WeightedTerm], optimiser: &mut AdamW, lr: f64) -> Result<f64> {
    let decay = optimiser.settings().weight_decay;
    let scalar_names: Vec<Vec<String>> = terms
        .iter()
        .map(|term| term.scalars.iter().map(|(scalar, _)| scalar_name(&term.name, scalar.name)).collect())
        .collect();
    let mut moved: Vec<(&str, &mut Tensor, Rate)> = Vec::new();
    for (name, tensor) in &mut student.tensors.parameters {
        if let Some(share) = student.rates.get(name) {
            let weight_decay = if tensor.dim() < 2 { 0.0 } else { decay };
            moved.push((name, tensor, Rate { lr: lr * share, weight_decay }));
        }
    }
    for (term, names) in terms.iter_mut().zip(&scalar_names) {
        for ((_, tensor), name) in term.scalars.iter_mut().zip(names) {
            moved.push((name, tensor, Rate { lr, weight_decay: 0.0 }));
        }
    }
    let norm = optimiser.step(&mut moved)?;
    let _no_gradients = tch::no_grad_guard();
    for (scalar, tensor) in terms.iter_mut().flat_map(|term| &mut term.scalars) {
        let _ = tensor.clamp_(scalar.low, scalar.high);
    }
    Ok(norm)
}

fn scalar_name(term: &str, scalar: &str) -> String {
    format!("scalar {term}.{scalar}")
}

fn line_values(state: &mut RunState, terms: &[WeightedTerm], lr: f64, norm: f64) -> BTreeMap<String, f64> {
    let (n, sums) = (state.logged.0.max(1) as f64, std::mem::replace(&mut state.logged.1, vec![0.0; terms.len()]));
    state.logged.0 = 0;
    let mut values: BTreeMap<String, f64> =
        terms.iter().zip(&sums).map(|(term, sum)| (format!("loss.{}", term.name), sum / n)).collect();
    values.insert("loss".to_owned(), terms.iter().zip(&sums).map(|(term, sum)| term.weight * sum / n).sum());
    for term in terms {
        let scalars = term
            .scalars
            .iter()
            .map(|(scalar, tensor)| (format!("{}.{}", term.name, scalar.name), tensor.double_value(&[])));
        values.extend(scalars);
    }
    values.extend([("lr".to_owned(), lr), ("gradient_norm".to_owned(), norm)]);
    values
}

/// Copies values into tensors of the same names, which stay the leaves that they are.
fn put_back(into: &mut BTreeMap<String, Tensor>, values: &BTreeMap<String, Tensor>) {
    let _no_gradients = tch::no_grad_guard();
    for (name, tensor) in into {
        if let Some(value) = values.get(name) {
            tensor.copy_(value);
        }
    }
}

fn restore_scalars(term: &mut WeightedTerm, stored: &BTreeMap<String, Tensor>) {
    let _no_gradients = tch::no_grad_guard();
    for (scalar, tensor) in &mut term.scalars {
        if let Some(value) = stored.get(&scalar_name(&term.name, scalar.name)) {
            tensor.copy_(value);
        }
    }
}

fn all_tensors(
    now: &NamedTensors,
    ema: Option<&NamedTensors>,
    best: Option<&NamedTensors>,
    terms: &[WeightedTerm],
    moments: BTreeMap<String, Tensor>,
) -> BTreeMap<String, Tensor> {
    let mut all = BTreeMap::new();
    for (place, tensors) in [("", Some(now)), ("ema/", ema), ("best/", best)] {
        let Some(tensors) = tensors else { continue };
        for (kind, tensors) in [("p", &tensors.parameters), ("b", &tensors.buffers)] {
            all.extend(tensors.iter().map(|(name, tensor)| (format!("{place}{kind}/{name}"), tensor.shallow_clone())));
        }
    }
    for term in terms {
        let named = |(scalar, tensor): &(loss::Scalar, Tensor)| {
            (format!("s/{}", scalar_name(&term.name, scalar.name)), tensor.shallow_clone())
        };
        all.extend(term.scalars.iter().map(named));
    }
    all.extend(moments.into_iter().map(|(name, tensor)| (format!("o/{name}"), tensor)));
    all
}
