//! Runs planned writes: one writer at a time, one commit for a call, the wait for the disk outside the lock.

use parking_lot::MutexGuard;

use super::moment::{Inner, dropped};
use super::plan::Plan;
use crate::collection::backend::{Durability, Indexing, ItemWrite, PayloadWrite, WriteAck};
use crate::store::Counters;
use crate::types::ItemId;
use crate::types::filter::Filter;
use crate::{Error, Result};

impl Inner {
    pub(super) fn upsert(&self, writes: Vec<ItemWrite>, durability: Durability) -> Result<Vec<Result<WriteAck>>> {
        let is_at_once = |write: &ItemWrite| write.indexing == Indexing::AtOnce;
        if writes.iter().any(is_at_once) {
            self.check_room()?;
        }
        if !writes.iter().all(is_at_once) {
            self.pressure.note_bulk_write();
        }
        self.store.check_room(0)?;
        let ids: Vec<ItemId> = writes.iter().map(|write| write.id.clone()).collect();
        self.write(&ids, writes, durability, |plan, write| plan.upsert(write))
    }

    pub(super) fn set_payload(
        &self,
        writes: Vec<PayloadWrite>,
        durability: Durability,
    ) -> Result<Vec<Result<WriteAck>>> {
        self.store.check_room(0)?;
        let ids: Vec<ItemId> = writes.iter().map(|write| write.id.clone()).collect();
        self.write(&ids, writes, durability, |plan, write| plan.set_payload(write))
    }

    pub(super) fn delete(
        &self,
        ids: Vec<ItemId>,
        only_if: Option<&Filter>,
        durability: Durability,
    ) -> Result<Vec<Option<u64>>> {
        let known = ids.clone();
        let outcomes = self.write(&known, ids, durability, |plan, id| Ok(plan.delete(id, only_if)))?;
        // A delete plans no error of its own, so an error is of a later commit of a split batch.
        outcomes.into_iter().collect()
    }

    /// Takes the writer's place.
    pub(super) fn lock_writer(&self) -> Result<MutexGuard<'_, Counters>> {
        let writer = self.writer.lock();
        let state = self.state.read();
        if state.is_dropped { Err(dropped(&state.schema)) } else { Ok(writer) }
    }

    /// Plans each write in order, commits, and waits for the disk if asked to.
    pub(super) fn write<W, A>(
        &self,
        ids: &[ItemId],
        writes: Vec<W>,
        durability: Durability,
        plan_one: impl Fn(&mut Plan<'_>, W) -> Result<A>,
    ) -> Result<Vec<Result<A>>> {
        let outcomes = {
            let mut writer = self.lock_writer()?;
            self.store.check_writable()?;
            let mut plan = Plan::new(self, *writer, ids.iter())?;
            let count = writes.len();
            let mut outcomes = Vec::with_capacity(count);
            let mut committed = 0;
            let mut failure = None;
            for write in writes {
                let outcome = plan_one(&mut plan, write);
                // The whole call is to be prepared again, so that its writes keep their order.
                if let (Err(error @ Error::SchemaChanged { .. }), 0) = (&outcome, committed) {
                    return Err(error.clone());
                }
                outcomes.push(outcome);
                if plan.is_full() {
                    failure = plan.commit().err();
                    if failure.is_some() {
                        break;
                    }
                    committed = outcomes.len();
                }
            }
            if failure.is_none() {
                failure = plan.commit().err();
            }
            // Numbers drawn for a failed commit are not drawn again: the disk may hold more of it than it admits.
            *writer = plan.counters;
            match failure {
                Some(error) if committed == 0 => return Err(error),
                Some(error) => fail_rest(&mut outcomes, committed, count, &error),
                None => {}
            }
            outcomes
        };
        // An unchanged item waits as well: the write that it relies on may still be on its way to the disk.
        if durability == Durability::Sync && outcomes.iter().any(Result::is_ok) {
            self.store.sync()?;
        }
        Ok(outcomes)
    }
}

/// Turns everything after the first `committed` outcomes into the failure of their commit.
fn fail_rest<A>(outcomes: &mut Vec<Result<A>>, committed: usize, count: usize, error: &Error) {
    outcomes.truncate(committed);
    outcomes.resize_with(count, || Err(error.clone()));
}
