//! What losses and captions do to a small world: eight colours, eight shapes, two things in each picture.
//!
//! A picture is the sum of random codes of its two bound pairs with noise; a caption names them. A small attention network reads
//! captions, a small perceptron sees pictures. Each effect is measured beside its control: same start, data, steps and seeds.

use std::collections::BTreeMap;

use pictor::train::data::captions::{CaptionMix, Captions};
use pictor::train::loss::{ALL, Targets, Term, Views};
use pictor::train::optim::adamw::{AdamW, AdamWSettings, Rate};
use pictor::train::piece::{Settings, build};
use pictor::train::random::random_for;
use pictor::train::recipe::CaptionsRecipe;
use pictor::train::student::normalise;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

const WORDS: [&str; 20] = [
    "a", "and", "coloured", "with", "red", "green", "blue", "white", "black", "grey", "pink", "brown", "disc", "ring",
    "star", "cube", "cone", "cross", "heart", "arrow",
];
const TOKENS: usize = 7;
const CODE: usize = 96;
const WIDTH: i64 = 48;
const DIMENSION: i64 = 32;
const BATCH: usize = 32;
const N_QUERIES: usize = 200;
const NOISE: f32 = 1.0;

/// Two bound pairs of colour and shape.
type Item = [usize; 4];

fn normal(random: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0
}

struct World {
    codes: Vec<Vec<f32>>,
    items: Vec<Item>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = random_for(seed, "world", &[]);
        let codes = (0..64).map(|_| (0..CODE).map(|_| normal(&mut random)).collect()).collect();
        let mut items: Vec<Item> = Vec::new();
        for first in 0..64 {
            items.extend((first + 1..64).map(|second| [first / 8, first % 8, second / 8, second % 8]));
        }
        items.shuffle(&mut random);
        Self { codes, items }
    }

    /// float32 `[items, CODE]`
    fn pictures(&self, items: &[Item], random: &mut ChaCha8Rng) -> Tensor {
        let mut values = Vec::with_capacity(items.len() * CODE);
        for [c1, s1, c2, s2] in items {
            let (one, two) = (&self.codes[c1 * 8 + s1], &self.codes[c2 * 8 + s2]);
            values.extend(one.iter().zip(two).map(|(one, two)| one + two + NOISE * normal(random)));
        }
        Tensor::from_slice(&values).view([items.len() as i64, CODE as i64])
    }
}

/// Both phrasings of a caption, as two sources of texts.
fn captions([c1, s1, c2, s2]: &Item) -> Captions {
    let [c1, c2] = [c1, c2].map(|colour| WORDS[4 + colour]);
    let [s1, s2] = [s1, s2].map(|shape| WORDS[12 + shape]);
    vec![vec![format!("a {c1} {s1} and a {c2} {s2}")], vec![format!("{s1} coloured {c1} with {s2} coloured {c2}")]]
}

/// int64 `[texts, TOKENS]`
fn ids(texts: &[String]) -> Tensor {
    let id = |word: &str| WORDS.iter().position(|known| *known == word).expect("a known word") as i64;
    let ids: Vec<i64> = texts.iter().flat_map(|text| text.split(' ').map(id)).collect();
    Tensor::from_slice(&ids).view([texts.len() as i64, TOKENS as i64])
}

/// Both towers.
struct Towers {
    tensors: BTreeMap<String, Tensor>,
}

impl Towers {
    fn new(seed: u64) -> Self {
        let mut random = random_for(seed, "towers", &[]);
        let shapes: [(&str, [i64; 2]); 11] = [
            ("words", [WORDS.len() as i64, WIDTH]),
            ("places", [TOKENS as i64, WIDTH]),
            ("query", [WIDTH, WIDTH]),
            ("key", [WIDTH, WIDTH]),
            ("value", [WIDTH, WIDTH]),
            ("output", [WIDTH, WIDTH]),
            ("inner", [WIDTH, 2 * WIDTH]),
            ("outer", [2 * WIDTH, WIDTH]),
            ("text", [WIDTH, DIMENSION]),
            ("see", [CODE as i64, 128]),
            ("image", [128, DIMENSION]),
        ];
        let tensor = |(name, shape): (&str, [i64; 2])| {
            let scale = 1.0 / (shape[0] as f32).sqrt();
            let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| scale * normal(&mut random)).collect();
            (name.to_owned(), Tensor::from_slice(&values).view(shape).set_requires_grad(true))
        };
        Self { tensors: shapes.into_iter().map(tensor).collect() }
    }

    fn texts(&self, ids: &Tensor) -> Tensor {
        let at = |name: &str| &self.tensors[name];
        let states = at("words").index_select(0, &ids.view(-1)).view([-1, TOKENS as i64, WIDTH]) + at("places");
        let (query, key, value) = (states.matmul(at("query")), states.matmul(at("key")), states.matmul(at("value")));
        let weights = (query.matmul(&key.transpose(1, 2)) / (WIDTH as f64).sqrt()).softmax(-1, Kind::Float);
        let states = states + weights.matmul(&value).matmul(at("output"));
        let states = &states + states.matmul(at("inner")).relu().matmul(at("outer"));
        normalise(&states.mean_dim([1_i64].as_slice(), false, Kind::Float).matmul(at("text")))
    }

    fn images(&self, pictures: &Tensor) -> Tensor {
        normalise(&pictures.matmul(&self.tensors["see"]).relu().matmul(&self.tensors["image"]))
    }
}

/// What a run is given beside the world.
struct Run<'a> {
    /// Terms with their weights.
    terms: &'a [(f64, &'a str)],
    items: usize,
    steps: usize,
    /// Shares of the two phrasings.
    phrasings: [f64; 2],
    teacher: Option<&'a Towers>,
}

fn term(table: &str) -> Box<dyn Term> {
    let settings = Settings { place: "objective".to_owned(), table: table.parse().expect("TOML") };
    build(ALL, "term", settings).expect("a term")
}

fn mix(shares: [f64; 2]) -> CaptionMix {
    let source = |share: f64| format!("{{ path = \"texts.t\", share = {share:?} }}");
    let recipe = format!("min_words = 2\nfrom = [{}, {}]", source(shares[0]), source(shares[1]));
    CaptionMix::new(&toml::from_str::<CaptionsRecipe>(&recipe).expect("captions"))
}

fn train(world: &World, seed: u64, run: &Run<'_>) -> Towers {
    let mut towers = Towers::new(seed);
    let terms: Vec<(f64, Box<dyn Term>)> = run.terms.iter().map(|(weight, table)| (*weight, term(table))).collect();
    let items = &world.items[N_QUERIES..N_QUERIES + run.items];
    let all = world.pictures(items, &mut random_for(seed, "pictures", &[]));
    let mix = mix(run.phrasings);
    let table = "lr = 0.002\nbetas = [0.9, 0.98]".parse().expect("TOML");
    let settings = Settings { place: "optimiser".to_owned(), table };
    let mut optimiser = AdamW::new(AdamWSettings::read(&settings).expect("settings"));
    let mut scale = Tensor::from((1.0_f32 / 0.07).ln()).set_requires_grad(true);
    for step in 0..run.steps {
        let mut random = random_for(seed, "batch", &[step as u64]);
        let rows: Vec<i64> = (0..BATCH).map(|_| random.random_range(0..run.items as i64)).collect();
        let texts: Vec<String> =
            rows.iter().map(|&row| mix.draw(&captions(&items[row as usize]), &mut random).expect("a text")).collect();
        let (rows, ids) = (Tensor::from_slice(&rows), ids(&texts));
        let pictures = all.index_select(0, &rows);
        let targets = run.teacher.map(|teacher| {
            tch::no_grad(|| Targets { images: Some(teacher.images(&pictures)), texts: Some(teacher.texts(&ids)) })
        });
        let views = Views {
            images: vec![towers.images(&pictures)],
            texts: vec![towers.texts(&ids)],
            concepts: rows,
            bank: None,
            targets,
            composed: None,
            attributes: Vec::new(),
            pictures: Vec::new(),
        };
        let mut total = Tensor::zeros([], (Kind::Float, Device::Cpu));
        for (weight, term) in &terms {
            let scalars = match term.scalars(&views).expect("scalars").len() {
                0 => Vec::new(),
                _ => vec![scale.shallow_clone()],
            };
            total += term.loss(&views, &scalars).expect("a loss") * *weight;
        }
        total.backward();
        let rate = Rate { lr: 0.002, weight_decay: 0.0 };
        let mut moved: Vec<_> = towers.tensors.iter_mut().map(|(name, tensor)| (name.as_str(), tensor, rate)).collect();
        moved.push(("scale", &mut scale, rate));
        optimiser.step(&mut moved).expect("a step");
    }
    towers
}

/// Vectors of the queries' captions in a phrasing, and of their pictures with fresh noise.
fn queries(world: &World, seed: u64, towers: &Towers, phrasing: usize) -> [Tensor; 2] {
    let items = &world.items[..N_QUERIES];
    let texts: Vec<String> = items.iter().map(|item| captions(item)[phrasing][0].clone()).collect();
    let pictures = world.pictures(items, &mut random_for(seed, "queries", &[]));
    tch::no_grad(|| [towers.texts(&ids(&texts)), towers.images(&pictures)])
}

fn recall(texts: &Tensor, images: &Tensor) -> f64 {
    let found = texts.matmul(&images.transpose(0, 1)).argmax(1, false);
    let own = Tensor::arange(found.size()[0], (Kind::Int64, Device::Cpu));
    found.eq_tensor(&own).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}

const CONTRAST: (f64, &str) = (1.0, "term = \"softmax\"\npair = \"images-texts\"");

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64;
    (mean, variance.sqrt())
}

/// A student that has the teacher's vectors as features finds the teacher's pictures by its own texts; one that learned the same
/// pairs alone finds nothing there.
#[test]
fn a_distilled_student_queries_its_teachers_vectors() {
    let (mut alone, mut distilled) = (Vec::new(), Vec::new());
    for seed in 0..5 {
        let world = World::new(seed);
        let plain = |terms, steps, teacher| Run { terms, items: 1500, steps, phrasings: [1.0, 1e-9], teacher };
        let teacher = train(&world, 100 + seed, &plain(&[CONTRAST], 1200, None));
        let [_, index] = queries(&world, seed, &teacher, 0);
        let crossed = |student: &Towers| recall(&queries(&world, seed, student, 0)[0], &index);
        alone.push(crossed(&train(&world, 200 + seed, &plain(&[CONTRAST], 600, None))));
        let terms = [CONTRAST, (2000.0, "term = \"features\"")];
        distilled.push(crossed(&train(&world, 200 + seed, &plain(&terms, 600, Some(&teacher)))));
    }
    println!("student text to teacher picture, R@1: alone {alone:.3?}, distilled {distilled:.3?}");
    assert!(alone.iter().all(|recall| *recall < 0.05), "{alone:?}");
    assert!(distilled.iter().all(|recall| *recall > 0.3), "{distilled:?}");
}

/// Texts drawn from both phrasings make queries in the other phrasing work.
#[test]
fn mixed_captions_answer_the_other_phrasing() {
    let (mut one, mut both) = (Vec::new(), Vec::new());
    for seed in 0..5 {
        let world = World::new(seed);
        let other = |phrasings| {
            let run = Run { terms: &[CONTRAST], items: 1500, steps: 400, phrasings, teacher: None };
            let [texts, images] = queries(&world, seed, &train(&world, 300 + seed, &run), 1);
            recall(&texts, &images)
        };
        one.push(other([1.0, 1e-9]));
        both.push(other([1.0, 1.0]));
    }
    println!("R@1 of the other phrasing: one {one:.3?}, both {both:.3?}");
    let better = one.iter().zip(&both).filter(|(one, both)| both > one).count();
    let ((one, deviation), (both, _)) = (mean_and_deviation(&one), mean_and_deviation(&both));
    assert!(better >= 4 && both - one > deviation.max(0.1), "{better} of 5, from {one} to {both}");
}

/// The cyclic term makes similarities alike from both sides at the same recall.
#[test]
fn the_cyclic_term_makes_similarities_consistent() {
    let root_mean_square = |difference: Tensor| difference.square().mean(Kind::Double).double_value(&[]).sqrt();
    let measure = |world: &World, seed: u64, terms: &[(f64, &str)]| {
        let run = Run { terms, items: 1500, steps: 400, phrasings: [1.0, 1e-9], teacher: None };
        let [texts, images] = queries(world, seed, &train(world, 400 + seed, &run), 0);
        let cross = texts.matmul(&images.transpose(0, 1));
        let within = images.matmul(&images.transpose(0, 1)) - texts.matmul(&texts.transpose(0, 1));
        [root_mean_square(&cross - cross.transpose(0, 1)), root_mean_square(within), recall(&texts, &images)]
    };
    let (mut plain, mut cyclic) = (Vec::new(), Vec::new());
    for seed in 0..5 {
        let world = World::new(seed);
        plain.push(measure(&world, seed, &[CONTRAST]));
        cyclic.push(measure(&world, seed, &[CONTRAST, (1.0, "term = \"cyclic\"")]));
    }
    println!("rms across, rms within, R@1: plain {plain:.3?}, cyclic {cyclic:.3?}");
    for (plain, cyclic) in plain.iter().zip(&cyclic) {
        assert!(cyclic[0] <= 0.75 * plain[0] && cyclic[1] <= 0.75 * plain[1], "{plain:?} {cyclic:?}");
    }
    let recall = |runs: &[[f64; 3]]| mean_and_deviation(&runs.iter().map(|run| run[2]).collect::<Vec<_>>());
    let ((before, deviation), (after, _)) = (recall(&plain), recall(&cyclic));
    assert!(after > before - 2.0 * deviation.max(0.01), "recall from {before} to {after}");
}
