//! Long work: training runs and what they became.

use super::Engine;
use super::generations::check_originals;
use crate::collection::schema::FieldSource;
use crate::evaluate;
use crate::jobs::{EvaluateSpec, FinetuneTarget, Jobs};
use crate::store::JobRecord;
use crate::train::overrides;
use crate::types::filter::Filter;
use crate::{Error, Result};

impl Engine {
    /// Asks the job table on a blocking thread.
    ///
    /// # Errors
    /// What `ask` says.
    pub async fn jobs<T: Send + 'static>(&self, ask: impl FnOnce(&Jobs) -> Result<T> + Send + 'static) -> Result<T> {
        let jobs = self.shared.jobs.clone();
        self.blocking(move || ask(&jobs)).await
    }

    /// Runs what waits for disks on a thread that may wait.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Error::Internal(format!("work on a blocking thread broke off: {error}")))?
    }

    /// Queues a training run of a collection, which is frozen as it is now. `filter` narrows the recipe's; `replaced` are
    /// values for the recipe's entries by dotted key. The result of a recipe with a `switch` is put to use if it is better.
    ///
    /// # Errors
    /// `NotFound` for the collection, `InvalidArgument` for the recipe, errors of the store; for a switch those of
    /// [`Engine::reembed`].
    pub async fn train(
        &self,
        collection: String,
        recipe: String,
        filter: Option<Filter>,
        replaced: serde_json::Map<String, serde_json::Value>,
    ) -> Result<JobRecord> {
        let name = self.shared.catalog.get(&collection)?.name;
        let mut table: toml::Table =
            recipe.parse().map_err(|error: toml::de::Error| Error::invalid("recipe", error.message()))?;
        overrides::apply(&mut table, replaced)?;
        let corpus = table.entry("corpus").or_insert_with(|| toml::Table::new().into()).as_table_mut();
        let corpus = corpus.ok_or_else(|| Error::invalid("recipe.corpus", "expected a table"))?;
        corpus.insert("collection".to_owned(), name.into());
        if let Some(filter) = filter {
            let own = corpus.get("filter").and_then(toml::Value::as_str).unwrap_or_default();
            let both = if own.is_empty() { filter.to_string() } else { format!("({own}) and ({filter})") };
            corpus.insert("filter".to_owned(), both.into());
        }
        if !table.contains_key("switch") {
            let recipe = table.to_string();
            return self.jobs(move |jobs| jobs.train(&recipe)).await;
        }
        let target = self.finetune_target(&collection, &mut table).await?;
        let recipe = table.to_string();
        self.jobs(move |jobs| jobs.finetune(&recipe, &target)).await
    }

    /// Queues the measuring of a field by a registered evaluator.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for the evaluator and its parameters.
    pub async fn evaluate(
        &self,
        collection: String,
        field: String,
        evaluator: String,
        parameters: serde_json::Map<String, serde_json::Value>,
    ) -> Result<JobRecord> {
        evaluate::find(&evaluator)?.check(&parameters)?;
        let schema = self.backend(&collection)?.schema();
        let field = schema.field(&field)?.name.clone();
        let (collection, uid) = (schema.name.clone(), schema.uid.clone());
        let spec = EvaluateSpec { collection, uid, field, evaluator, parameters };
        self.jobs(move |jobs| jobs.evaluate(&spec)).await
    }

    /// The field that a recipe's result is for; the recipe starts from the model that the field is served with.
    async fn finetune_target(&self, collection: &str, recipe: &mut toml::Table) -> Result<FinetuneTarget> {
        let backend = self.backend(collection)?;
        let schema = backend.schema();
        let wrong = |place: &str, message: String| Error::invalid(format!("recipe.{place}"), message);
        let switch = recipe.get_mut("switch").and_then(toml::Value::as_table_mut);
        let switch = switch.ok_or_else(|| wrong("switch", "expected a table".to_owned()))?;
        let named = switch.get("field").and_then(toml::Value::as_str).unwrap_or_default();
        let field = schema.field(named)?;
        let current = field.current()?.encoder.clone();
        if current.is_empty() {
            let message = format!("field {:?} holds the caller's vectors; no model serves it", field.name);
            return Err(wrong("switch.field", message));
        }
        switch.insert("field".to_owned(), field.name.clone().into());
        let model = recipe.entry("model").or_insert_with(|| toml::Table::new().into()).as_table_mut();
        let model = model.ok_or_else(|| wrong("model", "expected a table".to_owned()))?;
        let start = model.get("start").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        if !matches!(start.as_str(), "" | "current") {
            let (encoders, named) = (self.encoders().clone(), start.clone());
            let found = self.blocking(move || encoders.find(&named)).await?.full_name();
            if found != current {
                let message = format!(
                    "field {:?} is served with {current}, {start:?} is {found}; leave it out, or train without [switch]",
                    field.name
                );
                return Err(wrong("model.start", message));
            }
        }
        model.insert("start".to_owned(), current.clone().into());
        let corpus = recipe.get("corpus").and_then(|corpus| corpus.get("allow_thumbnails"));
        if matches!(field.source, FieldSource::Media { .. }) {
            let allow_thumbnails = corpus.and_then(toml::Value::as_bool).unwrap_or_default();
            check_originals(&*backend, &schema, allow_thumbnails).await?;
        }
        let (collection, uid, field) = (schema.name.clone(), schema.uid.clone(), field.name.clone());
        Ok(FinetuneTarget { collection, uid, field, start: current })
    }
}
