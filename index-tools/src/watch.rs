//! Following a job until it ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use pictor_proto::v1;
use prost_types::value::Kind;

use crate::context::Context;
use crate::{render, units};

/// Between two lines that only say how far the job is, where no terminal shows a bar.
const QUIET: Duration = Duration::from_secs(10);

/// Writes what becomes of a job: JSON objects, or a bar on a terminal and lines for what is worth keeping. A watch lasts as long as
/// the job: `--timeout` does not apply.
///
/// # Errors
/// If the server refuses, the job failed or was cancelled, or stdout is closed.
pub async fn watch(id: String, context: &Context) -> Result<()> {
    let mut stream = context.client.jobs.clone().watch_job(v1::WatchJobRequest { id }).await?.into_inner();
    // Hidden where stderr is no terminal.
    let bar = ProgressBar::new(0);
    // A template without placeholders of its own is always valid.
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut told: Option<(Instant, v1::JobState, String)> = None;
    let mut last = None;
    while let Some(reply) = stream.message().await? {
        let job = reply.job.context("the server sent no job")?;
        bar.set_length(job.total);
        bar.set_position(job.done);
        bar.set_message(figures(&job));
        let held_out = held_out(&job);
        let is_new = told.as_ref().is_none_or(|(when, state, known)| {
            (*state, known) != (job.state(), &held_out) || (bar.is_hidden() && when.elapsed() > QUIET)
        });
        if context.output.is_json() {
            context.output.object(&render::job(&job))?;
        } else if is_new {
            bar.suspend(|| context.output.say(&line(&job)))?;
            told = Some((Instant::now(), job.state(), held_out));
        }
        last = Some(job);
    }
    bar.finish_and_clear();
    succeeded(last.context("the server sent no job")?).map(|_| ())
}

/// Waits for a job without a word.
///
/// # Errors
/// If the server refuses, or the job failed or was cancelled.
pub async fn finish(id: String, context: &Context) -> Result<v1::Job> {
    let mut stream = context.client.jobs.clone().watch_job(v1::WatchJobRequest { id }).await?.into_inner();
    let mut last = None;
    while let Some(reply) = stream.message().await? {
        last = reply.job;
    }
    succeeded(last.context("the server sent no job")?)
}

fn succeeded(job: v1::Job) -> Result<v1::Job> {
    match job.state() {
        v1::JobState::Succeeded => Ok(job),
        state => bail!("job {} is {}: {}", job.id, render::job_state(state), job.error),
    }
}

/// A job in one line: how far it is, what it measures, what became of it.
fn line(job: &v1::Job) -> String {
    let mut line = format!("{} {} {}/{} {}", job.id, render::job_state(job.state()), job.done, job.total, job.message);
    let result = |name: &str| job.result.as_ref().and_then(|result| result.fields.get(name)?.kind.clone());
    let rest = match result("model") {
        Some(Kind::StringValue(model)) => format!("{model}{}", comma(&recalls(&numbers(job, "metrics")))),
        _ => figures(job),
    };
    if !rest.is_empty() {
        line.push_str("  ");
        line.push_str(&rest);
    }
    line
}

fn comma(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("  {text}") }
}

/// The loss with its terms, the pace, the time left, and what is found of held-out items.
fn figures(job: &v1::Job) -> String {
    let metrics = numbers(job, "metrics");
    let mut parts = Vec::new();
    if let Some(loss) = metrics.get("loss") {
        let terms: Vec<_> = metrics
            .iter()
            .filter_map(|(name, value)| Some(format!("{} {value:.3}", name.strip_prefix("loss.")?)))
            .collect();
        parts.push(format!("loss {loss:.3} ({})", terms.join(", ")));
    }
    if let Some(pace) = metrics.get("rows_per_second") {
        parts.push(format!("{pace:.0} rows/s"));
    }
    if let Some(left) = metrics.get("eta_seconds").filter(|_| job.state() == v1::JobState::Running) {
        parts.push(format!("{} left", units::seconds(*left)));
    }
    let held_out = held_out(job);
    parts.extend((!held_out.is_empty()).then_some(held_out));
    parts.join("  ")
}

fn held_out(job: &v1::Job) -> String {
    recalls(&numbers(job, "held_out"))
}

fn recalls(figures: &BTreeMap<String, f64>) -> String {
    let shown = figures.iter().filter(|(name, _)| name.contains("R@"));
    shown.map(|(name, value)| format!("{name} {value:.3}")).collect::<Vec<_>>().join(", ")
}

/// The numbers of one of a result's objects.
fn numbers(job: &v1::Job, object: &str) -> BTreeMap<String, f64> {
    let fields = job.result.as_ref().and_then(|result| match &result.fields.get(object)?.kind {
        Some(Kind::StructValue(object)) => Some(&object.fields),
        _ => None,
    });
    let number = |(name, value): (&String, &prost_types::Value)| match value.kind {
        Some(Kind::NumberValue(number)) => Some((name.clone(), number)),
        _ => None,
    };
    fields.into_iter().flatten().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::struct_from_json;

    #[test]
    fn a_run_fits_in_a_line() {
        let result = serde_json::json!({
            "metrics": {"loss": 2.5, "loss.softmax": 2.0, "loss.cyclic": 0.5, "lr": 0.1, "rows_per_second": 197.2, "eta_seconds": 4000.0},
            "held_out": {"all.R@1": 0.25, "all.queries": 10.0},
        });
        let mut job =
            v1::Job { id: "job-1".into(), done: 10, total: 20, message: "training".into(), ..Default::default() };
        job.set_state(v1::JobState::Running);
        job.result = Some(struct_from_json(&result));
        let expected = "job-1 running 10/20 training  loss 2.500 (cyclic 0.500, softmax 2.000)  197 rows/s  1 h 6 min left  all.R@1 0.250";
        assert_eq!(line(&job), expected);
        job.set_state(v1::JobState::Succeeded);
        job.result = Some(struct_from_json(&serde_json::json!({"model": "m@t1", "metrics": {"all.R@1": 0.5}})));
        assert_eq!(line(&job), "job-1 succeeded 10/20 training  m@t1  all.R@1 0.500");
        job.result = None;
        assert_eq!(line(&job), "job-1 succeeded 10/20 training");
    }
}
