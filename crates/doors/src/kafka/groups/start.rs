//! How groups come back after a restart, and when time begins for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pluvio_eventlog::EventLog;
use pluvio_eventlog::internal::CONSUMER_GROUPS;
use pluvio_foundation::Clock;

use super::consumer::{ConsumerGroup, Settings};
use super::memory::Memory;
use super::slot::{Kind, Slot};
use super::stored::{Key, Table, consumer, decode_group};
use super::{Groups, Slots, drive, signed};
use crate::DoorError;
use crate::kafka::broker::{Broker, BrokerOptions};
use crate::kafka::journal::Journal;

impl Groups {
    /// Reads all groups back, from the topic that is made if it is not there;
    /// blocks while it does. Time stands still for them until [`resume`].
    pub fn open(log: &EventLog, clock: Arc<dyn Clock>, options: &BrokerOptions) -> Result<Self, DoorError> {
        let monotonic_ms = clock.monotonic_us() / 1000;
        let groups = Self {
            slots: Mutex::default(),
            memory: Memory::new(options.groups_bytes_max),
            journal: Journal::open(log, CONSUMER_GROUPS, clock, Table::default())?,
            is_stopped: AtomicBool::new(false),
            retention_ms: options.offsets_retention_ms,
            groups_max: options.groups_max,
            members_max: options.group_members_max,
            initial_delay_ms: options.group_initial_delay_ms,
            consumer: Settings {
                session_timeout_ms: options.consumer_session_timeout_ms,
                heartbeat_interval_ms: options.consumer_heartbeat_interval_ms,
                members_max: options.group_members_max,
            },
        };
        let mut slots = Slots::new();
        let restored = groups.journal.with(|table| groups.restore(table, &mut slots, signed(monotonic_ms)));
        let astray =
            restored.map_err(|reason| DoorError::Stored { topic: CONSUMER_GROUPS, offset: -1, reason })?;
        let since_ms = signed(monotonic_ms) - groups.retention_ms;
        let expired = slots.extract_if(|_, slot| slot.emptied_ms.is_some_and(|at_ms| at_ms < since_ms));
        let gone = expired.map(|(name, _)| Key::Group(name)).chain(astray);
        let wrote = groups.journal.write(gone.map(|key| (key, None)).collect());
        if let Err(error) = wrote.and_then(|wrote| groups.journal.sync(wrote)) {
            tracing::warn!(%error, "old consumer groups are not forgotten yet");
        }
        tracing::info!(groups = slots.len(), "consumer groups read");
        slots.values_mut().for_each(Slot::count);
        *groups.slots.lock() = slots;
        Ok(groups)
    }

    /// Makes the groups out of their records. Gives the members without a
    /// group: what was to follow them was not written any more.
    fn restore(&self, table: &Table, slots: &mut Slots, monotonic_ms: i64) -> Result<Vec<Key>, String> {
        let now_ms = self.journal.now_ms();
        let mut astray = Vec::new();
        for (key, value) in &table.records {
            match (key, slots.get_mut(key.group())) {
                (Key::Group(name), _) => {
                    let consumer = || ConsumerGroup::new(self.consumer);
                    let (kind, written_ms) = decode_group(value, || self.classic(), consumer)?;
                    let emptied_ms = monotonic_ms - (now_ms - written_ms).max(0);
                    let emptied_ms = kind.is_idle().then_some(emptied_ms);
                    slots.insert(name.clone(), Slot { emptied_ms, ..Slot::new(kind, self.memory.share()) });
                }
                (Key::Member { id, .. }, Some(Slot { kind: Kind::Consumer(group), emptied_ms, .. })) => {
                    group.restore(id.clone(), consumer::decode(value)?).map_err(|it| it.message)?;
                    *emptied_ms = None;
                }
                (Key::Member { .. }, _) => astray.push(key.clone()),
            }
        }
        Ok(astray)
    }

    /// Gives the members of groups for which nobody lets time pass their whole
    /// session timeout from now; the caller must let it pass.
    pub fn begin(&self, now_ms: u64) -> Vec<String> {
        self.is_stopped.store(false, Ordering::SeqCst);
        let mut slots = self.slots.lock();
        let waiting = slots.iter_mut().filter(|(_, slot)| !slot.driven && !slot.kind.is_idle());
        let begun = waiting.map(|(name, slot)| {
            slot.kind.resume(now_ms);
            slot.drive();
            name.clone()
        });
        begun.collect()
    }

    /// Lets time stand still: members that cannot be heard are not given up.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.slots.lock().values().for_each(|slot| slot.wake.notify_one());
    }
}

/// Lets time pass for the groups that were read back, from now on.
pub(crate) fn resume(broker: &Arc<Broker>) {
    for name in broker.groups.begin(broker.monotonic_ms()) {
        drop(tokio::spawn(drive(Arc::clone(broker), name)));
    }
}
