//! Recipes are read strictly, and the shipped ones are read at all.

use std::collections::BTreeMap;

use pictor::train::recipe::Recipe;

use crate::support::root;

fn shipped(name: &str) -> String {
    std::fs::read_to_string(root().join("recipes").join(name)).expect(name)
}

#[test]
fn shipped_recipes_are_read() {
    for entry in std::fs::read_dir(root().join("recipes")).expect("recipes") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).expect("a recipe");
            Recipe::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(text.starts_with('#') && text.contains("# Command:"), "{}: no command", path.display());
        }
    }
}

#[test]
fn mistakes_are_named() {
    let good = shipped("pictor-mini.toml");
    let check = |from: &str, to: &str, expected: &str| {
        assert!(good.contains(from), "{from:?} is not in the recipe");
        let error = Recipe::parse(&good.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(expected), "{to:?}: {error}");
    };
    check("seed = 1", "seeds = 1", "seeds");
    check("steps = ", "steps = -", "line ");
    check("batch = 256", "batch = 1", "run.batch");
    check("decay = 0.995", "decay = 1.5", "ema.decay");
    check("path = \"payload.name\"", "path = \"name\"", "captions.from[0].path");
    check("\"emoji of {}\"", "\"emoji\"", "captions.from[1].templates");
    check("join = [1, 4]", "join = [3, 2]", "captions.from[2].join");
    check("text = \"all-minilm-l6-v2\"", "start = \"all-minilm-l6-v2\"", "recipe.model");
}

/// The committed table keeps each family on one side.
#[test]
fn the_split_of_pictor_mini_is_by_family() {
    let table = shipped("pictor-mini.split.tsv");
    let mut sides: BTreeMap<&str, &str> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let [_, family, side] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        assert_eq!(*sides.entry(family).or_insert(side), side, "family {family} stands on two sides");
        *counts.entry(side).or_default() += 1;
    }
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), ["test", "train", "validation"]);
    assert!(counts["test"] > 100 && counts["validation"] > 100, "{counts:?}");
}
