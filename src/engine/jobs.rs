//! Long work: training runs and what they became.

use super::Engine;
use crate::jobs::Jobs;
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
        let asked = tokio::task::spawn_blocking(move || ask(&jobs)).await;
        asked.map_err(|error| Error::Internal(format!("asking the job table: {error}")))?
    }

    /// Queues a training run of a collection, which is frozen as it is now. `filter` narrows the recipe's; `replaced` are
    /// values for the recipe's entries by dotted key.
    ///
    /// # Errors
    /// `NotFound` for the collection, `InvalidArgument` for the recipe, errors of the store.
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
        let recipe = table.to_string();
        self.jobs(move |jobs| jobs.train(&recipe)).await
    }
}
