//! Composers as requests name them, made ready for a field's vectors and kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::combiner::CombinerNetwork;
use super::{ALL, Composer, ComposerSettings, DEFAULT};
use crate::types::{Error, Result};

/// How long a name such as `combiner`, which does not say a revision, means what it meant before.
const NAME_LASTS: Duration = Duration::from_secs(10);
/// Composers that are kept ready.
const READY: u64 = 256;

/// Whose vectors a composer joins.
pub struct Place<'a> {
    pub space: &'a str,
    pub dimension: usize,
    composers: &'a Composers,
}

impl Place<'_> {
    /// The models folder.
    #[must_use]
    pub fn models_dir(&self) -> &Path {
        &self.composers.0.models_dir
    }

    /// A trained network by its full name, read unless it is kept.
    pub(super) fn network(
        &self,
        full_name: &str,
        read: impl FnOnce(u64) -> Result<CombinerNetwork>,
    ) -> Result<Arc<CombinerNetwork>> {
        let inner = &self.composers.0;
        if let Some(network) = inner.networks.get(full_name) {
            return Ok(network);
        }
        let network = Arc::new(read(inner.bytes)?);
        inner.networks.insert(full_name.to_owned(), Arc::clone(&network));
        Ok(network)
    }
}

/// A composer for the vectors of one space.
pub struct BoundComposer {
    /// Its name and settings in the text form, with revisions resolved.
    pub name: String,
    pub composer: Arc<dyn Composer>,
}

/// Finds composers; cheap to clone.
#[derive(Clone)]
pub struct Composers(Arc<Inner>);

struct Inner {
    models_dir: PathBuf,
    bytes: u64,
    ready: moka::sync::Cache<(String, String), Arc<BoundComposer>>,
    networks: moka::sync::Cache<String, Arc<CombinerNetwork>>,
}

impl Composers {
    /// Composers whose trained weights lie in a models folder and take at most `bytes` of memory.
    #[must_use]
    pub fn open(models_dir: &Path, bytes: u64) -> Self {
        let networks = moka::sync::Cache::builder()
            .max_capacity(bytes)
            .weigher(|_: &String, network: &Arc<CombinerNetwork>| u32::try_from(network.bytes()).unwrap_or(u32::MAX))
            .build();
        let ready = moka::sync::Cache::builder().max_capacity(READY).time_to_live(NAME_LASTS).build();
        Self(Arc::new(Inner { models_dir: models_dir.to_owned(), bytes, ready, networks }))
    }

    /// A composer that is ready already.
    #[must_use]
    pub fn ready(&self, text: &str, space: &str) -> Option<Arc<BoundComposer>> {
        self.0.ready.get(&(text.to_owned(), space.to_owned()))
    }

    /// Makes a composer ready for a space's vectors; the empty text means the default. May read the disk.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] listing the known names; what the composer says of its settings and of this space.
    pub fn bind(&self, text: &str, space: &str, dimension: usize) -> Result<Arc<BoundComposer>> {
        if let Some(ready) = self.ready(text, space) {
            return Ok(ready);
        }
        let settings = ComposerSettings::parse(if text.is_empty() { DEFAULT } else { text })?;
        let entry = ALL.iter().find(|entry| entry.name == settings.name).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(|entry| entry.name).collect();
            let message = format!("there is no composer {:?}; there are {}", settings.name, known.join(", "));
            Error::invalid("composer", message)
        })?;
        let (resolved, composer) = (entry.build)(&settings, &Place { space, dimension, composers: self })?;
        let bound = Arc::new(BoundComposer { name: resolved.to_string(), composer });
        self.0.ready.insert((text.to_owned(), space.to_owned()), Arc::clone(&bound));
        Ok(bound)
    }
}
