//! Which parameters move, and how fast: regular expressions that cover every name.

use std::collections::BTreeMap;

use regex::Regex;

use crate::train::recipe::ParameterRule;
use crate::{Error, Result};

/// The share of the run's learning rate by name; a frozen parameter is not in it.
pub type LearningRates = BTreeMap<String, f64>;

/// Applies the rules: the first that matches a name counts.
///
/// # Errors
/// `InvalidArgument` for a rule that is no expression or matches nothing, and for names that no rule matches.
pub fn learning_rates<'n>(
    rules: &[ParameterRule],
    names: &(impl Iterator<Item = &'n str> + Clone),
) -> Result<LearningRates> {
    let place = |number: usize| format!("recipe.parameters[{number}].match");
    let mut expressions = Vec::with_capacity(rules.len());
    for (number, rule) in rules.iter().enumerate() {
        // Whole names, so that a rule says what it means.
        let expression = Regex::new(&format!("^(?:{})$", rule.pattern))
            .map_err(|error| Error::invalid(place(number), error.to_string()))?;
        expressions.push(expression);
    }
    let n_layers = names.clone().filter_map(layer_number).max().map_or(0, |last| last + 1);
    let (mut rates, mut uncovered, mut used) = (LearningRates::new(), Vec::new(), vec![false; rules.len()]);
    for name in names.clone() {
        let Some(number) = expressions.iter().position(|expression| expression.is_match(name)) else {
            uncovered.push(name);
            continue;
        };
        used[number] = true;
        let rule = &rules[number];
        if rule.frozen {
            continue;
        }
        let depth = rule.layer_decay.map_or(1.0, |decay| decay.powf(layers_above(name, n_layers) as f64));
        rates.insert(name.to_owned(), rule.lr * depth);
    }
    if !uncovered.is_empty() {
        let (n, shown) = (uncovered.len(), &uncovered[..uncovered.len().min(5)]);
        let message =
            format!("{n} parameters are matched by no rule, such as {shown:?}; add a [[parameters]] for them");
        return Err(Error::invalid("recipe.parameters", message));
    }
    if let Some(number) = used.iter().position(|used| !used) {
        let example = names.clone().next().unwrap_or_default();
        let message = format!("{:?} decides about no parameter; a name is like {example:?}", rules[number].pattern);
        return Err(Error::invalid(place(number), message));
    }
    Ok(rates)
}

/// The layer that a name stands in, counted from 0.
fn layer_number(name: &str) -> Option<u64> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_list = |part: &str| {
        ["layer", "layers", "resblocks", "blocks", "stages"]
            .iter()
            .any(|list| part == *list || part.ends_with(&format!("/{list}")))
    };
    parts.windows(2).find_map(|pair| if is_list(pair[0]) { pair[1].parse().ok() } else { None })
}

/// Layers between a parameter and the network's end, the head being one: layer `l` of `L` has the share
/// `decay^(L + 1 − l)` with 0 for what stands before the layers and `L + 1` for what comes after (FT-CLIP, arXiv 2212.06138).
fn layers_above(name: &str, n_layers: u64) -> u64 {
    match layer_number(name) {
        Some(number) => n_layers - number,
        None if is_stem(name) => n_layers + 1,
        None => 0,
    }
}

fn is_stem(name: &str) -> bool {
    ["embed", "class_token", "cls_token", "conv1", "ln_pre", "pre_layrnorm", "positional"]
        .iter()
        .any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, frozen: bool, layer_decay: Option<f64>) -> ParameterRule {
        ParameterRule { pattern: pattern.to_owned(), frozen, lr: 1.0, layer_decay }
    }

    const NAMES: [&str; 5] = [
        "text/embeddings.word.weight",
        "vision/embeddings.cls_token",
        "vision/encoder.layer.0.output.dense.weight",
        "vision/encoder.layer.1.output.dense.weight",
        "vision/layernorm.weight",
    ];

    #[test]
    fn layers_learn_slower_the_deeper_they_lie() {
        let rules = [rule("text/.*", true, None), rule(".*", false, Some(0.5))];
        let rates = learning_rates(&rules, &NAMES.into_iter()).expect("rates");
        assert_eq!(rates.into_values().collect::<Vec<_>>(), [0.125, 0.25, 0.5, 1.0]);
    }

    #[test]
    fn every_parameter_and_every_rule_counts() {
        let check = |rules: &[ParameterRule], expected: &str| {
            let error = learning_rates(rules, &NAMES.into_iter()).expect_err("a refusal").to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&[rule("vision/.*", false, None)], "text/embeddings.word.weight");
        check(&[rule(".*", false, None), rule("vision/head.*", true, None)], "vision/head");
        check(&[rule("(", false, None)], "parameters[0]");
        check(&[rule("vision", false, None), rule("text/.*", true, None)], "matched by no rule");
    }
}
