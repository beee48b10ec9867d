//! Losses against values of the papers' own code, and what holds for every term.
//!
//! The reference values were computed by the published loss functions (torch 1.12.1, float64) on the vectors below: open_clip's
//! `ClipLoss` and `SigLipLoss`, CyCLIP's `get_loss`, CLIP-KD's `KDClipLoss`, RegionCLIP's `MILCrossEntropy`.

use pictor::train::loss::{ALL, Attribute, Bank, ComposedQueries, Gallery, Targets, Term, Views};
use pictor::train::optim::adamw::{AdamW, AdamWSettings, Rate};
use pictor::train::piece::{Settings, build};
use tch::{Kind, Tensor};

const ROWS: usize = 6;

fn rows(width: usize, value: impl Fn(f64, f64) -> f64) -> Tensor {
    let values: Vec<f64> =
        (0..ROWS).flat_map(|i| (0..width).map(move |j| (i as f64, j as f64))).map(|(i, j)| value(i, j)).collect();
    let rows = Tensor::from_slice(&values).view([ROWS as i64, width as i64]);
    let lengths = rows.norm_scalaropt_dim(2.0, [1_i64].as_slice(), true);
    rows / lengths
}

fn images() -> Tensor {
    rows(8, |i, j| (0.7 * i + 1.3 * j + 0.1 * i * j).sin())
}

fn texts() -> Tensor {
    rows(8, |i, j| (0.5 * i - 0.9 * j + 0.2 * i * j).cos())
}

fn views(kind: Kind) -> Views {
    let second = |rows: Tensor| rows.roll(1, 1);
    let convert = |tensors: Vec<Tensor>| tensors.into_iter().map(|tensor| tensor.to_kind(kind)).collect();
    Views {
        images: convert(vec![images(), second(images())]),
        texts: convert(vec![texts(), second(texts())]),
        concepts: Tensor::arange(ROWS as i64, (Kind::Int64, tch::Device::Cpu)),
        bank: Some(Bank {
            texts: texts().to_kind(kind),
            concepts: Tensor::arange(ROWS as i64, (Kind::Int64, tch::Device::Cpu)),
        }),
        targets: Some(Targets {
            images: Some(rows(8, |i, j| (0.3 * i + 0.8 * j + 0.15 * i * j).cos()).to_kind(kind)),
            texts: Some(rows(8, |i, j| (0.3 * i + 0.8 * j + 0.15 * i * j + 0.5 * (i + j).sin()).cos()).to_kind(kind)),
        }),
        composed: Some(composed(&images().to_kind(kind), &texts().to_kind(kind))),
        attributes: vec![Attribute {
            values: 2,
            images: vec![Tensor::from_slice(&[0_i64, 1, 1, -1, 0, 1]), Tensor::from_slice(&[1_i64, 0, 1, 1, -1, 0])],
        }],
        pictures: vec![pictures().to_kind(kind), second(pictures()).to_kind(kind)],
    }
}

/// Rows as composed queries whose query is the sum of the first views; the fourth means what the second means, and the gallery's first
/// picture is no wrong answer of the third.
fn composed(images: &Tensor, texts: &Tensor) -> ComposedQueries {
    let sum = images + texts;
    let excluded = Tensor::zeros([ROWS as i64, ROWS as i64 + 1], (Kind::Bool, tch::Device::Cpu));
    let _ = excluded.get(2).get(0).fill_(1);
    let pictures = Tensor::cat(
        &[rows(8, |i, j| (1.7 * i - 0.4 * j).cos()).narrow(0, 0, 1), images.roll(1, 1).to_kind(Kind::Double)],
        0,
    );
    ComposedQueries {
        queries: &sum / sum.norm_scalaropt_dim(2.0, [1_i64].as_slice(), true),
        targets: Tensor::from_slice(&[10_i64, 11, 12, 11, 14, 15]),
        gallery: Some(Gallery {
            vectors: pictures.to_kind(images.kind()),
            places: Tensor::from_slice(&[1_i64, 2, 3, 4, 5, 6]),
            excluded,
        }),
    }
}

fn term(text: &str) -> Box<dyn Term> {
    let settings = Settings { place: "objective".to_owned(), table: text.parse().expect("TOML") };
    build(ALL, "term", settings).expect("a term")
}

fn loss(term: &dyn Term, views: &Views) -> Tensor {
    let kind = views.images[0].kind();
    let scalars: Vec<Tensor> = term
        .scalars(views)
        .expect("scalars")
        .iter()
        .map(|scalar| Tensor::from(scalar.start).to_kind(kind).set_requires_grad(true))
        .collect();
    term.loss(views, &scalars).expect("a loss")
}

fn one_view(images: Tensor, texts: Tensor) -> Views {
    Views {
        images: vec![images],
        texts: vec![texts],
        bank: None,
        targets: None,
        composed: None,
        attributes: Vec::new(),
        pictures: Vec::new(),
        ..views(Kind::Double)
    }
}

fn check(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} and not {expected}");
}

#[test]
fn the_vectors_are_those_of_the_reference() {
    for (column, expected) in [0.0, 0.508_342_015, 0.271_961_787, -0.362_843_096].into_iter().enumerate() {
        check(images().double_value(&[0, column as i64]), expected, 1e-9);
    }
    check(texts().double_value(&[5, 0]), -0.302_827_030, 1e-9);
}

#[test]
fn softmax_agrees_with_open_clip() {
    let softmax = term(
        r#"term = "softmax"
        pair = "images-texts""#,
    );
    let (images, texts) = (images().set_requires_grad(true), texts().set_requires_grad(true));
    let found = loss(&*softmax, &one_view(images.shallow_clone(), texts.shallow_clone()));
    check(found.double_value(&[]), 1.390_222_882_191, 1e-9);
    found.backward();
    check(images.grad().norm().double_value(&[]), 4.365_063_551_972, 1e-9);
    check(texts.grad().norm().double_value(&[]), 4.574_001_360_547, 1e-9);
    let single = one_view(images.detach().to_kind(Kind::Float), texts.detach().to_kind(Kind::Float));
    check(loss(&*softmax, &single).double_value(&[]), 1.390_222_882_191, 1e-5);
}

/// RegionCLIP's `MILCrossEntropy` with labels 0 0 1 2 2 2 goes one way and sums the probabilities of equal labels.
#[test]
fn several_positives_agree_with_the_reference() {
    let mut single = one_view(images(), texts());
    single.concepts = Tensor::from_slice(&[0_i64, 0, 1, 2, 2, 2]);
    for (scale, expected) in [(10.0, 0.316_822_297_634), (100.0, 1.193_102_245_400)] {
        let softmax = term(&format!(
            "term = \"softmax\"\npair = \"images-texts\"\npositives = \"sum\"\nbackwards = 0.0\nscale = {scale:?}"
        ));
        check(loss(&*softmax, &single).double_value(&[]), expected, 1e-9);
    }
}

#[test]
fn sigmoid_agrees_with_open_clip_in_chunks_of_any_size() {
    for chunk in [1, 4, 7, ROWS] {
        let sigmoid = term(&format!("term = \"sigmoid\"\nscale = 10.0\nbias = -10.0\nchunk = {chunk}"));
        let (images, texts) = (images().set_requires_grad(true), texts().set_requires_grad(true));
        let found = loss(&*sigmoid, &one_view(images.shallow_clone(), texts.shallow_clone()));
        check(found.double_value(&[]), 8.035_077_027_502, 1e-9);
        found.backward();
        check(images.grad().norm().double_value(&[]), 4.050_929_498_555, 1e-9);
        check(texts.grad().norm().double_value(&[]), 4.050_883_784_607, 1e-9);
        let single = one_view(images.detach().to_kind(Kind::Float), texts.detach().to_kind(Kind::Float));
        check(loss(&*sigmoid, &single).double_value(&[]), 8.035_077_027_502, 1e-5);
    }
}

#[test]
fn the_sigmoids_neutral_start_is_lower_and_extremes_are_finite() {
    let value = |table: &str| loss(&*term(table), &one_view(images(), texts())).double_value(&[]);
    let neutral = value("term = \"sigmoid\"");
    assert!(neutral < value("term = \"sigmoid\"\nbias = -10.0"), "{neutral}");
    assert!(neutral < value("term = \"sigmoid\"\nbias = 0.0"), "{neutral}");
    let single = one_view(images().to_kind(Kind::Float), texts().to_kind(Kind::Float));
    for bias in ["-100.0", "100.0"] {
        let extreme = term(&format!("term = \"sigmoid\"\nscale = 1000.0\nbias = {bias}"));
        assert!(loss(&*extreme, &single).double_value(&[]).is_finite());
    }
}

#[test]
fn cyclic_agrees_with_cyclip() {
    for (weights, expected) in [
        ("", 0.167_607_714_130),
        ("in_modal = 1.0\ncross_modal = 0.0", 0.549_149_707_118),
        ("in_modal = 0.0\ncross_modal = 1.0", 0.121_281_149_400),
    ] {
        let cyclic = term(&format!("term = \"cyclic\"\n{weights}"));
        check(loss(&*cyclic, &one_view(images(), texts())).double_value(&[]), expected, 1e-9);
    }
}

#[test]
fn distillation_agrees_with_clip_kd() {
    let teacher = Targets {
        images: Some(rows(8, |i, j| (0.7 * i + 1.3 * j + 0.1 * i * j + 0.3).sin())),
        texts: Some(rows(8, |i, j| (0.5 * i - 0.9 * j + 0.2 * i * j - 0.4).cos())),
    };
    let views = Views { targets: Some(teacher), ..one_view(images(), texts()) };
    for (table, expected) in [
        ("term = \"features\"", 0.052_424_593_538),
        ("term = \"relations\"\nteacher_scale = 50.0", 0.517_411_424_100),
        // The reference multiplies by its logarithm of the scale, ln(1 / 0.07), itself.
        ("term = \"interactive\"\nscale = 2.659260036932778", 1.403_857_796_478),
    ] {
        check(loss(&*term(table), &views).double_value(&[]), expected, 1e-9);
    }
}

/// The reference is scipy's `rel_entr` between two of its `softmax`.
#[test]
fn structure_is_the_divergence_from_the_texts_own_similarities() {
    let views = Views { bank: views(Kind::Double).bank, ..one_view(images(), texts()) };
    for (target_scale, scale, expected) in [(4.0, 4.0, 0.896_549_063_241), (20.0, 10.0, 1.289_383_168_364)] {
        let term = term(&format!("term = \"structure\"\ntarget_scale = {target_scale:?}\nscale = {scale:?}"));
        check(loss(&*term, &views).double_value(&[]), expected, 1e-9);
    }
    // A picture where its text is, and the same sharpness: nothing is left to learn.
    let same = Views { images: vec![texts()], ..views };
    check(loss(&*term("term = \"structure\""), &same).double_value(&[]), 0.0, 1e-12);
}

/// The reference is scikit-learn 1.8.0's `log_loss` with its balanced weights, mean of two views; the bank leaves the fifth and the third
/// number free, in that order.
#[test]
fn attributes_is_the_balanced_cross_entropy_in_the_texts_free_directions() {
    let lengths = Tensor::from_slice(&[3.0, 2.0, 0.5, 4.0, 0.25, 5.0, 6.0, 7.0]);
    let texts = lengths.diag(0);
    let bank = Bank { texts, concepts: Tensor::arange(8, (Kind::Int64, tch::Device::Cpu)) };
    let views = Views { bank: Some(bank), ..views(Kind::Double) };
    for (scale, expected) in [(20.0, 7.001_690_712_941), (4.0, 1.555_009_991_321)] {
        let term = term(&format!("term = \"attributes\"\nscale = {scale:?}"));
        check(loss(&*term, &views).double_value(&[]), expected, 1e-9);
    }
    let unknown = Attribute { values: 2, images: vec![Tensor::from_slice(&[-1_i64; ROWS])] };
    let unknown = Views { attributes: vec![unknown], bank: views.bank, ..one_view(images(), self::texts()) };
    check(loss(&*term("term = \"attributes\""), &unknown).double_value(&[]), 0.0, 0.0);
    let many = Attribute { values: 5, images: vec![] };
    let many = Views { attributes: vec![many], ..unknown };
    let error = term("term = \"attributes\"").scalars(&many).expect_err("too many values").to_string();
    assert!(error.contains("needs 5 directions"), "{error}");
}

/// Pictures of 4 by 2 pixels.
fn pictures() -> Tensor {
    let rows = [ROWS as i64, 3, 2, 4].map(|n| Tensor::arange(n, (Kind::Double, tch::Device::Cpu)));
    let place = |at: usize, factor: f64| &rows[at] * factor;
    let shape = [[-1, 1, 1, 1], [1, -1, 1, 1], [1, 1, -1, 1], [1, 1, 1, -1]];
    let wave = [0.9, 1.1, 0.7, 0.4].iter().enumerate().map(|(at, &factor)| place(at, factor).view(shape[at]));
    wave.reduce(|sum, part| sum + part).expect("four axes").sin() * 0.5 + 0.5
}

/// The reference is `tests/golden/colours.py` (numpy 2.4.6, from the formula); the bank leaves the fifth, the third and the second number free.
#[test]
fn colours_is_the_mean_square_of_what_vectors_miss_of_the_fields() {
    let lengths = Tensor::from_slice(&[3.0, 2.0, 0.5, 4.0, 0.25, 5.0, 6.0, 7.0]);
    let bank = Bank { texts: lengths.diag(0), concepts: Tensor::arange(8, (Kind::Int64, tch::Device::Cpu)) };
    let views = Views { bank: Some(bank), attributes: Vec::new(), ..views(Kind::Double) };
    let term = term("term = \"colours\"\nfields = 1");
    check(loss(&*term, &views).double_value(&[]), 2.013_502_021_508, 1e-9);
    let error = self::term("term = \"colours\"").scalars(&views).expect_err("too many fields").to_string();
    assert!(error.contains("needs 27 directions"), "{error}");
}

#[test]
fn terms_say_what_they_miss() {
    let without = one_view(images(), texts());
    let unlabelled = Views { bank: views(Kind::Double).bank, ..one_view(images(), texts()) };
    let pictures = Views { texts: Vec::new(), ..one_view(images(), texts()) };
    let encoded = Views { pictures: Vec::new(), attributes: Vec::new(), ..views(Kind::Double) };
    for (table, views, expected) in [
        ("term = \"features\"", &without, "recipe.targets"),
        ("term = \"relations\"", &without, "recipe.targets"),
        ("term = \"softmax\"\npair = \"images-bank\"", &without, "frozen text tower"),
        ("term = \"softmax\"\npair = \"images-images\"", &without, "two views"),
        ("term = \"structure\"", &without, "frozen text tower"),
        ("term = \"attributes\"", &without, "frozen text tower"),
        ("term = \"attributes\"", &unlabelled, "recipe.corpus.attributes"),
        ("term = \"colours\"", &without, "frozen text tower"),
        ("term = \"colours\"\nfields = 1", &encoded, "image tower that learns"),
        ("term = \"cyclic\"", &pictures, "pictures and texts"),
    ] {
        let term = term(table);
        let scalars = term
            .scalars(views)
            .map(|scalars| scalars.iter().map(|scalar| Tensor::from(scalar.start)).collect::<Vec<_>>());
        let error = scalars.and_then(|scalars| term.loss(views, &scalars)).expect_err(table).to_string();
        assert!(error.contains(expected), "{table}: {error}");
    }
}

/// One table for each term and way of using it.
const TERMS: [&str; 16] = [
    "term = \"attributes\"",
    "term = \"colours\"\nfields = 1",
    "term = \"composed\"\nscale = 5.0",
    "term = \"composed\"\nscale = 5.0\nmask_same_target = true",
    "term = \"composed\"\nscale = 5.0\nover = \"gallery\"",
    "term = \"cyclic\"",
    "term = \"features\"",
    "term = \"interactive\"",
    "term = \"relations\"\nteacher_scale = 8.0",
    "term = \"sigmoid\"\nbias = -1.5\nchunk = 4",
    "term = \"softmax\"\npair = \"images-texts\"",
    "term = \"softmax\"\npair = \"images-texts\"\npositives = \"mean\"\npositive_above = 0.9",
    "term = \"softmax\"\npair = \"images-images\"\npositives = \"sum\"",
    "term = \"softmax\"\npair = \"texts-texts\"",
    "term = \"softmax\"\npair = \"images-bank\"",
    "term = \"structure\"\ntarget_scale = 4.0\nscale = 4.0",
];

/// Views in which the term has room: attributes and colours together would take more than half of eight directions.
fn views_for(table: &str) -> Views {
    let attributes = |views: &Views| views.attributes.iter().map(Attribute::shallow_clone).collect();
    let views = views(Kind::Double);
    Views { attributes: if table.contains("colours") { Vec::new() } else { attributes(&views) }, ..views }
}

#[test]
fn every_term_is_tried() {
    for piece in ALL {
        let name = format!("term = \"{}\"", piece.name);
        assert!(TERMS.iter().any(|table| table.starts_with(&name)), "{} has no line in TERMS", piece.name);
    }
}

#[test]
fn terms_are_finite_and_do_not_depend_on_the_order_of_rows() {
    for table in TERMS {
        let (term, views) = (term(table), views_for(table));
        let order = Tensor::from_slice(&[3_i64, 0, 5, 1, 4, 2]);
        let shuffle = |rows: &Tensor| rows.index_select(0, &order);
        let targets = views.targets.as_ref().expect("targets");
        let shuffled = Views {
            images: views.images.iter().map(shuffle).collect(),
            texts: views.texts.iter().map(shuffle).collect(),
            concepts: shuffle(&views.concepts),
            bank: views.bank.as_ref().map(|bank| Bank { texts: bank.texts.copy(), concepts: bank.concepts.copy() }),
            targets: Some(Targets {
                images: targets.images.as_ref().map(shuffle),
                texts: targets.texts.as_ref().map(shuffle),
            }),
            composed: views.composed.as_ref().map(|composed| ComposedQueries {
                queries: shuffle(&composed.queries),
                targets: shuffle(&composed.targets),
                gallery: composed.gallery.as_ref().map(|gallery| Gallery {
                    vectors: gallery.vectors.copy(),
                    places: shuffle(&gallery.places),
                    excluded: shuffle(&gallery.excluded),
                }),
            }),
            attributes: views
                .attributes
                .iter()
                .map(|attribute| Attribute { values: 2, images: attribute.images.iter().map(shuffle).collect() })
                .collect(),
            pictures: views.pictures.iter().map(shuffle).collect(),
        };
        let (one, other) = (loss(&*term, &views).double_value(&[]), loss(&*term, &shuffled).double_value(&[]));
        assert!(one.is_finite(), "{table}: {one}");
        check(one, other, 1e-10);
    }
}

/// Steps along the gradient must bring a term down on one batch, and the gradient must be that of finite differences.
#[test]
fn terms_learn_one_batch_by_their_gradients() {
    for table in TERMS {
        let term = term(table);
        let leaves: Vec<Tensor> = [images(), images().roll(1, 1), texts(), texts().roll(1, 1)]
            .into_iter()
            .map(|rows| rows.set_requires_grad(true))
            .collect();
        let value = |leaves: &[Tensor]| {
            let unit = |rows: &Tensor| rows / rows.norm_scalaropt_dim(2.0, [1_i64].as_slice(), true);
            let leaves: Vec<Tensor> = leaves.iter().map(unit).collect();
            let mut views = views_for(table);
            views.images = leaves[..2].iter().map(Tensor::shallow_clone).collect();
            views.texts = leaves[2..].iter().map(Tensor::shallow_clone).collect();
            views.composed = Some(composed(&leaves[0], &leaves[2]));
            loss(&*term, &views)
        };
        let start = value(&leaves);
        start.backward();
        let leaf = leaves.iter().position(|leaf| leaf.grad().defined()).expect("a gradient");
        for place in [0, 9, 25] {
            let nudged = |step: f64| {
                let mut changed: Vec<Tensor> = leaves.iter().map(|leaf| leaf.detach().copy()).collect();
                let flat = changed[leaf].view(-1);
                let _ = flat.get(place).g_add_scalar_(step);
                changed[leaf] = flat.view([ROWS as i64, 8]);
                value(&changed).double_value(&[])
            };
            let slope = (nudged(1e-5) - nudged(-1e-5)) / 2e-5;
            check(leaves[leaf].grad().view(-1).double_value(&[place]), slope, 1e-6);
        }
        let mut leaves: Vec<(String, Tensor)> =
            leaves.into_iter().enumerate().map(|(number, leaf)| (number.to_string(), leaf)).collect();
        let settings = "lr = 0.02".parse().expect("TOML");
        let settings = Settings { place: "optimiser".to_owned(), table: settings };
        let mut optimiser = AdamW::new(AdamWSettings::read(&settings).expect("settings"));
        for _ in 0..300 {
            let now: Vec<Tensor> = leaves.iter().map(|(_, leaf)| leaf.shallow_clone()).collect();
            now.iter().for_each(|leaf| leaf.shallow_clone().zero_grad());
            value(&now).backward();
            let rate = Rate { lr: 0.02, weight_decay: 0.0 };
            let mut moved: Vec<_> = leaves.iter_mut().map(|(name, leaf)| (name.as_str(), leaf, rate)).collect();
            optimiser.step(&mut moved).expect("a step");
        }
        let leaves: Vec<Tensor> = leaves.into_iter().map(|(_, leaf)| leaf).collect();
        let (start, end) = (start.double_value(&[]), value(&leaves).double_value(&[]));
        assert!(end < 0.2 * start, "{table}: from {start} to {end}");
    }
}
