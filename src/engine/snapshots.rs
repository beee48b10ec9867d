//! Snapshots of the whole data folder.

use super::Engine;
use crate::Result;
use crate::store::SnapshotInfo;

impl Engine {
    /// Takes a snapshot of everything acknowledged so far, beside the writers.
    ///
    /// # Errors
    /// [`Error::StorageFull`](crate::Error::StorageFull), [`Error::Storage`](crate::Error::Storage).
    pub async fn create_snapshot(&self) -> Result<SnapshotInfo> {
        let store = self.shared.store.clone();
        self.blocking(move || store.create_snapshot()).await
    }

    /// Every snapshot, the oldest first.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::Error::Storage).
    pub async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let store = self.shared.store.clone();
        self.blocking(move || store.list_snapshots()).await
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), [`Error::Storage`](crate::Error::Storage).
    pub async fn delete_snapshot(&self, name: String) -> Result<()> {
        let store = self.shared.store.clone();
        self.blocking(move || store.delete_snapshot(&name)).await
    }

    /// Checks a snapshot and asks the server to start anew with it. Whatever was written since it was taken is gone then, also if the server
    /// dies before.
    ///
    /// # Errors
    /// Those of [`Store::stage_snapshot`](crate::store::Store::stage_snapshot).
    pub async fn restore_snapshot(&self, name: String) -> Result<()> {
        let store = self.shared.store.clone();
        self.blocking(move || store.stage_snapshot(&name)).await?;
        self.shared.restart.send_replace(true);
        Ok(())
    }

    /// Completes once a snapshot waits to take the place of the data.
    pub async fn restart_wanted(&self) {
        let mut restart = self.shared.restart.subscribe();
        // The sender lives as long as this engine.
        let _ = restart.wait_for(|is_wanted| *is_wanted).await;
    }
}
