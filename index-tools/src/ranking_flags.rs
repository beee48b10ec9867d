//! The flags that say how the hits of a search are ranked, grouped, counted and explained.

use anyhow::Result;
use pictor_proto::v1;
use pictor_proto::v1::boost::Shape;
use pictor_proto::v1::fusion::Method;

use crate::failure::usage;
use crate::payload_path::split_path;
use crate::units::{parse_duration, parse_weight};

const HEADING: &str = "Ranking";

/// What is done with the nearest items before they are hits.
#[derive(clap::Args, Debug)]
pub struct RankingFlags {
    /// A stored item that hits should be like, by its id; may be repeated
    #[arg(long, help_heading = HEADING, value_name = "ID")]
    like: Vec<String>,
    /// A stored item that hits should not be like, by its id; may be repeated
    #[arg(long, help_heading = HEADING, value_name = "ID")]
    unlike: Vec<String>,
    /// How --like and --unlike score: by one vector that is their average, or by the nearest of them [default: average]
    #[arg(long, help_heading = HEADING, value_enum)]
    strategy: Option<Strategy>,
    /// Search several fields instead of --field and fuse what they find, each with its weight, like image=0.7,text
    #[arg(long, help_heading = HEADING, value_name = "FIELD[=W],…", value_delimiter = ',', value_parser = fused_field, conflicts_with = "field")]
    fields: Vec<v1::FusedField>,
    /// How --fields are fused: rrf or rrf:K adds W / (K + rank); weighted adds W times the score, scaled to 0 to 1 in each field
    /// [default: rrf:60]
    #[arg(long, help_heading = HEADING, value_name = "METHOD", value_parser = fusion, requires = "fields")]
    fusion: Option<v1::Fusion>,
    /// Find N candidates in another field first, which --field then scores
    #[arg(long, help_heading = HEADING, value_name = "FIELD:N", value_parser = prefetch, conflicts_with = "fields")]
    prefetch: Option<v1::Prefetch>,
    /// How many of the nearest items are boosted, compared, grouped and counted [default: ten for each hit, at least 100]
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    candidates: Option<u32>,
    /// Add up to W to scores, by a number: nothing at FROM, W at TO, like rating=0..5*0.1; or by a time: W now, half of it for each
    /// HALFLIFE ago, like made~30d*0.2; may be repeated
    #[arg(long, help_heading = HEADING, value_name = "PATH=FROM..TO*W|PATH~HALFLIFE*W", value_parser = boost)]
    boost: Vec<v1::Boost>,
    /// Leave out hits whose cosine to a better hit is at least this, like 0.98: the same picture stored twice
    #[arg(long, help_heading = HEADING, value_name = "COSINE", value_parser = cosine, allow_negative_numbers = true)]
    distinct: Option<f32>,
    /// Leave out hits whose picture's perceptual hash differs from a better hit's in at most so many of 64 bits, like 6: the same picture in
    /// another size or quality
    #[arg(long, help_heading = HEADING, value_name = "BITS", value_parser = clap::value_parser!(u32).range(0..=64))]
    distinct_pictures: Option<u32>,
    /// Prefer hits that are unlike those before them: 1 goes by score alone, 0 by unlikeness alone (maximal marginal relevance)
    #[arg(long, help_heading = HEADING, value_name = "LAMBDA", value_parser = share, allow_negative_numbers = true)]
    diversity: Option<f32>,
    /// Gather hits that share the value at a payload path, SIZE of each group [default: 1]; --limit and --offset count groups
    #[arg(long, help_heading = HEADING, value_name = "PATH[=SIZE]", value_parser = group_by)]
    group_by: Option<v1::GroupBy>,
    /// Count the values at a payload path among the candidates; may be repeated
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    facet: Vec<String>,
    /// Show what scores are made of and how the filter was answered
    #[arg(long, help_heading = HEADING)]
    explain: bool,
}

/// Values of `--strategy`.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    Average,
    BestScore,
}

impl RankingFlags {
    /// True if stored items stand as examples, which are something to look for.
    #[must_use]
    pub const fn has_examples(&self) -> bool {
        !self.like.is_empty() || !self.unlike.is_empty()
    }

    /// The paths of the boosts, in order.
    #[must_use]
    pub fn boost_paths(&self) -> Vec<String> {
        self.boost.iter().map(|boost| boost.path.clone()).collect()
    }

    /// Checks what clap cannot; `has_parts` says whether the query looks for something beside examples.
    ///
    /// # Errors
    /// A usage error.
    pub fn check(&self, has_parts: bool) -> Result<()> {
        let is_staged = !self.fields.is_empty() || self.prefetch.is_some();
        match self.strategy {
            Some(_) if !self.has_examples() => {
                Err(usage("--strategy says how --like and --unlike score; give at least one of them"))
            }
            Some(Strategy::BestScore) if has_parts => Err(usage(
                "--strategy best-score compares with --like and --unlike alone; leave out what else is looked for, or take average",
            )),
            Some(Strategy::BestScore) if is_staged => Err(usage(
                "--strategy best-score compares within one field; leave out --fields and --prefetch, or take average",
            )),
            _ => Ok(()),
        }
    }

    /// Writes the flags into a request.
    #[must_use]
    pub fn apply(self, request: v1::SearchRequest) -> v1::SearchRequest {
        let has_examples = self.has_examples();
        let strategy = match self.strategy {
            None => v1::RecommendStrategy::Unspecified,
            Some(Strategy::Average) => v1::RecommendStrategy::Average,
            Some(Strategy::BestScore) => v1::RecommendStrategy::BestScore,
        };
        let recommend = v1::Recommend { positive: self.like, negative: self.unlike, strategy: strategy.into() };
        let explain = if self.explain { v1::Explain::Plan } else { v1::Explain::Unspecified };
        v1::SearchRequest {
            candidates: self.candidates.unwrap_or_default(),
            boosts: self.boost,
            distinct: self.distinct,
            distinct_pictures: self.distinct_pictures,
            diversity: self.diversity,
            group_by: self.group_by,
            fields: self.fields,
            fusion: self.fusion,
            prefetch: self.prefetch,
            recommend: has_examples.then_some(recommend),
            facets: self.facet,
            explain: explain.into(),
            ..request
        }
    }
}

fn boost(text: &str) -> Result<v1::Boost, String> {
    let wrong = || {
        let forms = "PATH=FROM..TO*WEIGHT like rating=0..5*0.1, or PATH~HALFLIFE*WEIGHT like made~30d*0.2";
        format!("expected {forms}, got {text:?}")
    };
    let (path, mark, rest) = split_path(text, &['=', '~']).filter(|(path, ..)| !path.is_empty()).ok_or_else(wrong)?;
    let (shape, weight) = rest.rsplit_once('*').ok_or_else(wrong)?;
    let shape = if mark == '=' { Shape::Number(ramp(shape)?) } else { Shape::Recency(recency(shape)?) };
    Ok(v1::Boost { path: path.to_owned(), weight: parse_weight(weight)?, shape: Some(shape) })
}

fn ramp(text: &str) -> Result<v1::NumberRamp, String> {
    let finite = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let ends = text.split_once("..").and_then(|(from, to)| Some((finite(from)?, finite(to)?)));
    match ends {
        Some((from, to)) if from != to => Ok(v1::NumberRamp { from, to }),
        _ => Err(format!("expected two different numbers like 0..5 or 100..20, got {text:?}")),
    }
}

fn recency(text: &str) -> Result<v1::Recency, String> {
    let half_life = parse_duration(text)?;
    if half_life.is_zero() {
        return Err(format!("a half-life is longer than 0, got {text:?}"));
    }
    let half_life = prost_types::Duration::try_from(half_life).map_err(|_| format!("{text:?} is too long"))?;
    Ok(v1::Recency { half_life: Some(half_life) })
}

fn fused_field(text: &str) -> Result<v1::FusedField, String> {
    let (field, weight) = match text.split_once('=') {
        None => (text, None),
        Some((field, weight)) => (field, Some(parse_weight(weight)?)),
    };
    if field.is_empty() || weight.is_some_and(|weight| weight < 0.0) {
        return Err(format!("expected FIELD or FIELD=WEIGHT with a weight above 0, got {text:?}"));
    }
    Ok(v1::FusedField { field: field.to_owned(), weight })
}

fn fusion(text: &str) -> Result<v1::Fusion, String> {
    let method = match (text, text.strip_prefix("rrf:").map(str::parse::<f32>)) {
        ("rrf", _) => Method::ReciprocalRank(v1::ReciprocalRank { k: None }),
        ("weighted", _) => Method::WeightedScores(v1::WeightedScores {}),
        (_, Some(Ok(k))) if k.is_finite() && k >= 0.0 => Method::ReciprocalRank(v1::ReciprocalRank { k: Some(k) }),
        _ => return Err(format!("expected rrf, rrf:K with a K of at least 0, or weighted, got {text:?}")),
    };
    Ok(v1::Fusion { method: Some(method) })
}

fn prefetch(text: &str) -> Result<v1::Prefetch, String> {
    let parts = text.rsplit_once(':').and_then(|(field, limit)| Some((field, limit.parse::<u32>().ok()?)));
    match parts {
        Some((field, limit)) if !field.is_empty() && limit > 0 => Ok(v1::Prefetch { field: field.to_owned(), limit }),
        _ => Err(format!("expected FIELD:N with a number of candidates like text:200, got {text:?}")),
    }
}

fn group_by(text: &str) -> Result<v1::GroupBy, String> {
    let (path, size) = match split_path(text, &['=']) {
        None => (text, Some(1)),
        Some((path, _, size)) => (path, size.parse::<u32>().ok()),
    };
    match size {
        Some(size) if !path.is_empty() && size > 0 => Ok(v1::GroupBy { path: path.to_owned(), size }),
        _ => Err(format!("expected PATH, or PATH=SIZE with the hits of each group like brand=3, got {text:?}")),
    }
}

fn cosine(text: &str) -> Result<f32, String> {
    between(text, -1.0)
}

fn share(text: &str) -> Result<f32, String> {
    between(text, 0.0)
}

fn between(text: &str, least: f32) -> Result<f32, String> {
    let number = text.parse::<f32>().ok().filter(|number| (least..=1.0).contains(number));
    number.ok_or_else(|| format!("expected a number from {least} to 1, got {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boosts_are_read() {
        let check = |text: &str, path: &str, weight: f32, shape: Shape| {
            assert_eq!(boost(text), Ok(v1::Boost { path: path.into(), weight, shape: Some(shape) }));
        };
        let number = |from, to| Shape::Number(v1::NumberRamp { from, to });
        let seconds =
            |seconds, nanos| Shape::Recency(v1::Recency { half_life: Some(prost_types::Duration { seconds, nanos }) });
        check("rating=0..5*0.1", "rating", 0.1, number(0.0, 5.0));
        check("a.price=100..-2.5*-1", "a.price", -1.0, number(100.0, -2.5));
        check(r#""x*=1"=0..1*2"#, r#""x*=1""#, 2.0, number(0.0, 1.0));
        check("made~30d*0.2", "made", 0.2, seconds(2_592_000, 0));
        check("made~500ms*1", "made", 1.0, seconds(0, 500_000_000));
    }

    #[test]
    fn malformed_values_are_told_what_was_expected() {
        let check = |refused: Option<String>, expected: &str| {
            assert!(refused.as_ref().is_some_and(|error| error.contains(expected)), "{expected}: {refused:?}");
        };
        for bad in ["rating", "=0..5*1", "rating=0..5", "~1d*1", "made~1d"] {
            check(boost(bad).err(), "PATH=FROM..TO*WEIGHT like");
        }
        for bad in ["r=5*1", "r=..*1", "r=5..5*1", "r=0..inf*1", "r=a..b*1"] {
            check(boost(bad).err(), "two different numbers");
        }
        check(boost("r=0..5*0").err(), "a weight is a number other than 0");
        check(boost("r~soon*1").err(), "expected a duration");
        check(boost("r~0s*1").err(), "a half-life is longer than 0");
        for bad in ["", "=2", "image=-1"] {
            check(fused_field(bad).err(), "expected FIELD or FIELD=WEIGHT");
        }
        for bad in ["", "sum", "rrf:", "rrf:-1", "rrf:NaN", "weighted:2"] {
            check(fusion(bad).err(), "expected rrf, rrf:K");
        }
        for bad in ["text", ":5", "text:0", "text:many"] {
            check(prefetch(bad).err(), "expected FIELD:N");
        }
        for bad in ["", "=2", "brand=", "brand=0", "brand=-1"] {
            check(group_by(bad).err(), "expected PATH, or PATH=SIZE");
        }
        check(share("-0.1").err(), "expected a number from 0 to 1");
        check(cosine("NaN").err(), "expected a number from -1 to 1");
    }
}
