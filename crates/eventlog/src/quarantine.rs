//! Damage to events that were durable: copied aside, reported, stepped over.

use crate::error::IoContext;
use crate::partition::Partition;
use crate::scan::Scanner;
use crate::segment::{Damage, Segment};
use crate::{LogError, layout};
use pluvio_foundation::OpenMode;
use std::path::Path;
use std::sync::Arc;

const COPY_BYTES: usize = 1 << 20;
/// How far offsets can have gone on within damage: more records than this do
/// not fit into a segment.
const OFFSETS_LOST_MAX: i64 = 1 << 33;

impl Partition {
    /// Notes the damage at a position: up to the next whole batch of the
    /// segment, or its end. `offset` is the first that is lost.
    ///
    /// The damaged bytes stay in the segment too, until retention removes it;
    /// so failing to copy them is told, and no reason to stop.
    pub(crate) fn quarantine(
        &self,
        segment: &Arc<Segment>,
        scanner: &mut Scanner<'_>,
        (position, offset): (u64, i64),
        reason: &str,
    ) -> Result<Damage, LogError> {
        let following = self.segment_of(segment.base_offset).and_then(|(_, following)| following);
        let offset_max = self.offset_max_after_damage(offset, following);
        let next = scanner.next_whole(position + 1, offset, offset_max).doing("read", &segment.path)?;
        let to = next.map_or(segment.bytes(), |(position, _)| position);
        let damage = Damage { from: position, to };
        {
            let mut places = segment.places.lock();
            if let Some(known) = places.damage_at(position) {
                return Ok(known);
            }
            places.damage.push(damage);
            if places.is_retired() {
                // What was read from it is in the segment that took its place.
                return Ok(damage);
            }
        }
        // The rest of a write that failed, where the next segment goes on:
        // no event is missing.
        if following == Some(offset) {
            return Ok(damage);
        }
        let bytes = to - position;
        let shown = segment.path.display();
        let mut line = format!(
            "{}: the events from offset {offset} up to {} are damaged ({reason}): \
             {bytes} bytes at position {position} of {shown} are stepped over",
            self.label(),
            next.map_or("the segment's end".into(), |(_, header)| format!("before {}", header.base_offset)),
        );
        let copy = layout::quarantined(&self.folder(), segment.base_offset, position, bytes);
        match self.copy_aside(scanner, position, to, &copy) {
            Ok(()) => line.push_str(&format!(" and were copied to {}", copy.display())),
            Err(error) => {
                line.push_str(&format!("; they could not be copied aside: {error}"));
                // Half a copy would be taken for a whole one.
                let _ = self.shared.disk.remove_file(&copy);
            }
        }
        self.shared.cells.quarantined_bytes.add(bytes);
        self.shared.report(line);
        Ok(damage)
    }

    /// The last offset that a batch after damage may begin with: no checksum
    /// covers it, so it must lie before the segment that follows, and before the
    /// end of the log.
    fn offset_max_after_damage(&self, offset: i64, following: Option<i64>) -> i64 {
        let end = following.unwrap_or_else(|| self.end_offset());
        // While it opens, the log does not know its end yet.
        let end = if end > offset { end } else { i64::MAX };
        offset.saturating_add(OFFSETS_LOST_MAX).min(end - 1)
    }

    /// Copies a range of the scanned file, durably.
    pub(crate) fn copy_aside(
        &self,
        scanner: &mut Scanner<'_>,
        from: u64,
        to: u64,
        path: &Path,
    ) -> Result<(), LogError> {
        let disk = &self.shared.disk;
        let file = disk.open(path, OpenMode::Create).doing("open", path)?;
        file.truncate(0).doing("truncate", path)?;
        let mut position = from;
        while position < to {
            let count = COPY_BYTES.min(usize::try_from(to - position).unwrap_or(COPY_BYTES));
            let bytes = scanner.bytes(position, count).doing("read", path)?;
            if bytes.is_empty() {
                break;
            }
            file.write_all_at(bytes, position - from).doing("write", path)?;
            position += bytes.len() as u64;
        }
        file.sync().doing("sync", path)?;
        let folder = self.folder();
        disk.sync_dir(&folder).doing("sync", &folder)
    }
}
