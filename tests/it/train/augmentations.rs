//! Each augmentation does what it says, by its seed and by nothing else.

use pictor::train::augment::{ALL, Augmenter, Drawing};
use pictor::train::piece::Settings;
use pictor::train::random::random_for;

const SIDE: usize = 32;

/// One table for each augmentation.
const TABLES: [&str; 14] = [
    "kind = \"affine\"\nrotation = 0.5\nscale = 0.2\nshift = 0.1",
    "kind = \"background\"\ngradient = 0.5",
    "kind = \"blur\"\ndeviation = 2.0",
    "kind = \"contrast\"\nlimit = 0.5\nbrightness = 0.1",
    "kind = \"erase\"\narea = [0.1, 0.3]",
    "kind = \"flip\"\nprobability = 0.5",
    "kind = \"grey\"\nprobability = 0.5",
    "kind = \"hue\"\nradians = 1.0",
    "kind = \"invert\"\nprobability = 0.5",
    "kind = \"noise\"\nlimit = 0.3",
    "kind = \"outline\"\nonly = 0.5",
    "kind = \"posterise\"\nlevels = [2, 6]",
    "kind = \"random-resized-crop\"\narea = [0.2, 0.8]\naspect = 0.3",
    "kind = \"saturation\"\nlimit = 1.0",
];

fn augmenter(table: &str) -> Augmenter {
    let settings = Settings { place: "augment".to_owned(), table: table.parse().expect("TOML") };
    Augmenter::new(vec![settings], (SIDE, SIDE)).expect("an augmenter")
}

/// A disc whose left half is red and whose right half is blue-green, on nothing.
fn drawing(is_flippable: bool) -> Drawing {
    let pixel = |place: usize| {
        let (x, y) = (place % SIDE, place / SIDE);
        let distance = (x as f32 - 15.5).hypot(y as f32 - 15.5);
        match (distance < 12.0, x < SIDE / 2) {
            (false, _) => [0, 0, 0, 0],
            (true, true) => [220, 30, 10, 255],
            (true, false) => [10, 120, 90, 255],
        }
    };
    Drawing { width: SIDE, height: SIDE, rgba: (0..SIDE * SIDE).flat_map(pixel).collect(), is_flippable }
}

fn draw(table: &str, drawing: &Drawing, seed: u64) -> Vec<f32> {
    let mut pixels = Vec::new();
    augmenter(table).draw(drawing, &mut random_for(seed, "test", &[]), &mut pixels);
    assert_eq!(pixels.len(), 3 * SIDE * SIDE);
    assert!(pixels.iter().all(|value| (0.0..=1.0).contains(value)), "{table}");
    pixels
}

fn plain() -> Vec<f32> {
    draw("kind = \"flip\"\nprobability = 0.0", &drawing(true), 0)
}

fn at(pixels: &[f32], x: usize, y: usize) -> [f32; 3] {
    [0, 1, 2].map(|channel| pixels[(channel * SIDE + y) * SIDE + x])
}

fn check_colour(found: [f32; 3], expected: [f32; 3]) {
    let is_near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 0.02);
    assert!(is_near, "{found:?} and not {expected:?}");
}

#[test]
fn every_augmentation_is_its_seeds() {
    for piece in ALL {
        let start = format!("kind = \"{}\"", piece.name);
        let table =
            TABLES.iter().find(|table| table.starts_with(&start)).unwrap_or_else(|| panic!("{start} is not tried"));
        let drawn: Vec<Vec<f32>> = (0..8).map(|seed| draw(table, &drawing(true), seed)).collect();
        let again: Vec<Vec<f32>> = (0..8).map(|seed| draw(table, &drawing(true), seed)).collect();
        assert!(drawn == again, "{table} differs when drawn again");
        assert!(drawn.iter().any(|pixels| *pixels != drawn[0]), "{table} is the same for all seeds");
        let never = format!("{table}\nprobability = 0.0").replacen("\nprobability = 0.5", "", 1);
        assert!(draw(&never, &drawing(true), 3) == plain(), "{never} changes something");
    }
}

#[test]
fn a_picture_that_nothing_happens_to_lies_on_white() {
    check_colour(at(&plain(), 0, 0), [1.0, 1.0, 1.0]);
    check_colour(at(&plain(), 10, 16), [220.0 / 255.0, 30.0 / 255.0, 10.0 / 255.0]);
}

#[test]
fn only_what_may_be_mirrored_is_mirrored() {
    let mirrored = draw("kind = \"flip\"", &drawing(true), 1);
    for (x, y) in [(10, 16), (20, 9), (3, 3)] {
        check_colour(at(&mirrored, SIDE - 1 - x, y), at(&plain(), x, y));
    }
    assert_eq!(draw("kind = \"flip\"", &drawing(false), 1), plain());
}

#[test]
fn colours_become_what_the_formulas_say() {
    let grey = at(&draw("kind = \"grey\"", &drawing(true), 1), 10, 16);
    let luma = (0.299 * 220.0 + 0.587 * 30.0 + 0.114 * 10.0) / 255.0;
    check_colour(grey, [luma; 3]);
    let inverted = at(&draw("kind = \"invert\"", &drawing(true), 1), 10, 16);
    check_colour(inverted, [35.0 / 255.0, 225.0 / 255.0, 245.0 / 255.0]);
    // A turn of the hue keeps the sum of the colours.
    let turned = at(&draw("kind = \"hue\"\nradians = 0.3", &drawing(true), 1), 20, 16);
    assert!((turned.iter().sum::<f32>() - 220.0 / 255.0).abs() < 0.02, "{turned:?}");
    let few = draw("kind = \"posterise\"\nlevels = [2, 2]", &drawing(true), 1);
    assert!(few.iter().all(|value| *value == 0.0 || *value == 1.0));
}

#[test]
fn an_erased_share_is_kept() {
    let erased = draw("kind = \"erase\"\narea = [0.25, 0.25]", &drawing(true), 5);
    let changed = (0..SIDE * SIDE).filter(|place| {
        let (x, y) = (place % SIDE, place / SIDE);
        at(&erased, x, y) != at(&plain(), x, y)
    });
    let share = changed.count() as f64 / (SIDE * SIDE) as f64;
    assert!((0.15..=0.30).contains(&share), "{share}");
}

#[test]
fn wrong_tables_are_refused_by_place() {
    for (table, expected) in [
        ("kind = \"hue\"\nradians = 9.0", "radians"),
        ("kind = \"blur\"\ndeviation = 1.0\nprobability = 2.0", "probability"),
        ("kind = \"grey\"\nstrength = 1.0", "strength"),
        ("kind = \"gray\"", "expected one of"),
    ] {
        let settings = Settings { place: "augment[0]".to_owned(), table: table.parse().expect("TOML") };
        let error = Augmenter::new(vec![settings], (SIDE, SIDE)).err().expect("a refusal").to_string();
        assert!(error.contains("augment[0]") && error.contains(expected), "{error}");
    }
}
