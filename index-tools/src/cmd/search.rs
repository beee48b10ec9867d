//! `pictor search`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use pictor_proto::v1;
use pictor_proto::v1::query_part::Content;

use crate::answer;
use crate::context::Context;
use crate::failure::usage;
use crate::ranking_flags::RankingFlags;
use crate::units::parse_weight;

const HELP: &str = "Parts and their default weights: --text, --image, --item and --vector are what is looked for (1); --modify \
adds words to them (1); --minus pushes away from words (-1, and --weight minus=W means -W). Several parts are joined by the \
composer. Items named with --item, --like and --unlike are left out of the hits; --like and --unlike may stand alone.

With --json each line is a hit with rank, id, score, field, generation, part, version, payload and texts; with --group-by it also has \
group, the value that the group shares, and rank is the group's; with --explain and another flag of Ranking it also has explanation. \
Behind all hits stand, only if asked for, a line with the key facet for each --facet, and with --explain and --filter a line with the \
key plan; these have no id.

Examples:
  pictor search emoji --text 'celebrate a birthday' --limit 5
  pictor search emoji --item 1f600 --filter 'group = \"Animals & Nature\"'
  pictor search goods --image shoe.jpg --modify 'in red' --minus leather --weight modify=0.7
  pictor search goods --text boots --boost 'rating=0..5*0.1' --boost 'made~30d*0.2' --group-by brand=2 --facet color
  pictor search goods --text boots --fields image=0.7,text --fusion weighted --explain
  pictor search goods --like b17 --like b20 --unlike s3 --diversity 0.7 --distinct 0.98";

/// A query.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// Words to look for
    #[arg(long)]
    text: Option<String>,
    /// A picture file to look for
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// A stored item to look for, by its id
    #[arg(long, value_name = "ID")]
    item: Option<String>,
    /// A file with a vector to look for, as a JSON list of numbers
    #[arg(long, value_name = "FILE")]
    vector: Option<PathBuf>,
    /// How the result should differ from what is looked for
    #[arg(long, value_name = "TEXT")]
    modify: Option<String>,
    /// What the result should not be like; may be repeated
    #[arg(long, value_name = "TEXT")]
    minus: Vec<String>,
    /// Weight of a part: text, image, item, vector, modify or minus; may be repeated
    #[arg(long, value_name = "PART=W", value_parser = weight)]
    weight: Vec<(Part, f32)>,
    /// How several parts become one query: sum, sum:normalise=raw, slerp, combiner, combiner:model=NAME [default: the field's]
    #[arg(long, value_name = "NAME")]
    composer: Option<String>,
    /// Find only items that satisfy this filter, like 'price < 20 and color in ["red", "blue"]'
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// The field to search [default: the collection's]
    #[arg(long, value_name = "FIELD")]
    field: Option<String>,
    /// How many hits
    #[arg(long, value_name = "K", default_value = "10")]
    limit: u32,
    /// Leave out the first hits
    #[arg(long, value_name = "N", default_value = "0")]
    offset: u32,
    /// Leave out hits with a lower score
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// Compare with every vector instead of using the index
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    ranking: RankingFlags,
}

/// The parts that `--weight` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Text,
    Image,
    Item,
    Vector,
    Modify,
    Minus,
}

fn weight(text: &str) -> Result<(Part, f32), String> {
    let (name, number) = text.split_once('=').ok_or_else(|| format!("expected PART=W, got {text:?}"))?;
    let part = match name {
        "text" => Part::Text,
        "image" => Part::Image,
        "item" => Part::Item,
        "vector" => Part::Vector,
        "modify" => Part::Modify,
        "minus" => Part::Minus,
        _ => return Err(format!("a part is text, image, item, vector, modify or minus; got {name:?}")),
    };
    Ok((part, parse_weight(number)?))
}

impl Args {
    /// Checks what clap cannot: that there is something to look for, and that each weight has its part.
    ///
    /// # Errors
    /// A usage error.
    pub fn check(&self) -> Result<()> {
        let is_looked_for = [Part::Text, Part::Image, Part::Item, Part::Vector].into_iter().any(|part| self.has(part));
        if !is_looked_for && !self.ranking.has_examples() {
            return Err(usage("give something to look for: --text, --image, --item, --vector, --like or --unlike"));
        }
        self.ranking.check(is_looked_for || self.has(Part::Modify) || self.has(Part::Minus))?;
        match self.weight.iter().find(|(part, _)| !self.has(*part)) {
            Some((part, _)) => Err(usage(format!("--weight names the part {part:?}, but the query has none"))),
            None => Ok(()),
        }
    }

    const fn has(&self, part: Part) -> bool {
        match part {
            Part::Text => self.text.is_some(),
            Part::Image => self.image.is_some(),
            Part::Item => self.item.is_some(),
            Part::Vector => self.vector.is_some(),
            Part::Modify => self.modify.is_some(),
            Part::Minus => !self.minus.is_empty(),
        }
    }

    fn weight_of(&self, part: Part) -> Option<f32> {
        let given = self.weight.iter().rev().find(|(named, _)| *named == part).map(|(_, weight)| *weight);
        if part == Part::Minus { Some(-given.map_or(1.0, f32::abs)) } else { given }
    }

    fn parts(&self) -> Result<Vec<v1::QueryPart>> {
        let mut parts = Vec::new();
        let mut add = |part: Part, content: Content| {
            parts.push(v1::QueryPart { content: Some(content), weight: self.weight_of(part) });
        };
        if let Some(file) = &self.image {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            add(Part::Image, Content::Image(bytes.into()));
        }
        if let Some(id) = &self.item {
            add(Part::Item, Content::ItemId(id.clone()));
        }
        if let Some(file) = &self.vector {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let values = serde_json::from_str(&text)
                .with_context(|| format!("{} is not a JSON list of numbers", file.display()))?;
            add(Part::Vector, Content::Vector(v1::Vector { values }));
        }
        if let Some(text) = &self.text {
            add(Part::Text, Content::Text(text.clone()));
        }
        if let Some(text) = &self.modify {
            add(Part::Modify, Content::Text(text.clone()));
        }
        for text in &self.minus {
            add(Part::Minus, Content::Text(text.clone()));
        }
        Ok(parts)
    }
}

/// Searches and writes the hits.
///
/// # Errors
/// If a file cannot be read, the server refuses, or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    let parts = args.parts()?;
    let boosts = args.ranking.boost_paths();
    let select = v1::ItemSelection { payload: Some(true), texts: true, ..Default::default() };
    let request = v1::SearchRequest {
        collection: args.collection,
        field: args.field.unwrap_or_default(),
        parts,
        composer: args.composer.unwrap_or_default(),
        filter: super::filter(args.filter),
        limit: args.limit,
        offset: args.offset,
        min_score: args.min_score,
        exact: args.exact,
        exclude_reference: None,
        select: Some(select),
        ..Default::default()
    };
    let request = args.ranking.apply(request);
    let reply = context.client.search.clone().search(context.request(request)).await?.into_inner();
    for warning in &reply.warnings {
        eprintln!("warning: {warning}");
    }
    for (number, share) in reply.lambdas.iter().enumerate() {
        let of = if reply.lambdas.len() == 1 { String::new() } else { format!(" {}", number + 1) };
        context.output.say(&format!(
            "{}: the words{of} weigh {share:.2}, the picture {:.2}",
            reply.composer,
            1.0 - share
        ))?;
    }
    answer::write(&reply, &boosts, &context.output)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::cmd::{Cli, Command};

    fn parse(flags: &str) -> Args {
        let words = ["pictor", "search", "c"].into_iter().chain(flags.split_whitespace());
        match Cli::try_parse_from(words).expect(flags).command {
            Command::Search(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn weights_go_to_their_parts() {
        let args = parse("--text shoe --modify red --minus boot --minus heel --weight modify=0.5 --weight minus=0.25");
        args.check().expect("a good query");
        let weights: Vec<_> = args.parts().expect("no files").iter().map(|part| part.weight).collect();
        assert_eq!(weights, [None, Some(0.5), Some(-0.25), Some(-0.25)]);
        assert_eq!(parse("--text a --minus b").weight_of(Part::Minus), Some(-1.0));
    }

    #[test]
    fn examples_are_something_to_look_for() {
        parse("--like a --like b --unlike c --strategy best-score").check().expect("a good query");
        parse("--unlike a --modify red --strategy average --fields image=2,text").check().expect("a good query");
        let argument_error = |flags: &str| {
            let words = ["pictor", "search", "c", "--text", "a"].into_iter().chain(flags.split_whitespace());
            Cli::try_parse_from(words).expect_err(flags).kind()
        };
        assert_eq!(argument_error("--fields image --field text"), ErrorKind::ArgumentConflict);
        assert_eq!(argument_error("--fields image --prefetch text:9"), ErrorKind::ArgumentConflict);
        assert_eq!(argument_error("--fusion rrf"), ErrorKind::MissingRequiredArgument);
        assert_eq!(argument_error("--candidates 0"), ErrorKind::ValueValidation);
    }

    #[test]
    fn senseless_queries_are_refused() {
        let examples = ["--text a --strategy average", "--like a --modify b --strategy best-score"];
        let fused = "--like a --strategy best-score --prefetch text:10";
        for bad in ["", "--modify red", "--minus red", "--text a --weight image=2", fused].into_iter().chain(examples) {
            assert!(parse(bad).check().is_err(), "{bad:?}");
        }
        for bad in ["text", "text=0", "text=NaN", "text=inf", "size=1"] {
            assert!(weight(bad).is_err(), "{bad:?}");
        }
    }
}
