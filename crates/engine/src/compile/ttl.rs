//! How long rows stay that only come: `ttl`.

use datafusion::arrow::datatypes::SchemaRef;
use pluvio_query::rows::loose;

use super::builder::{Builder, Built};
use super::origin::{Edge, Origin, WindowClock};
use super::plan::Operator;

/// Rows go in so many slices of their time.
const SLICES: i64 = 64;
const SLICE_US_MIN: i64 = 50_000;

/// Rows that stay for a while.
#[derive(Debug)]
pub struct TtlPlan {
    /// From a slice's end to when it goes, and how long a slice is.
    pub edge: Edge,
    /// The rows.
    pub row: SchemaRef,
}

impl TtlPlan {
    /// Rows stay for `ttl_us` at least, and a slice longer at most.
    fn new(ttl_us: i64, row: SchemaRef) -> Self {
        let every_us = (ttl_us / SLICES).max(SLICE_US_MIN);
        let to_end_us = (ttl_us.saturating_add(every_us - 1) / every_us).saturating_mul(every_us);
        Self { edge: Edge { to_end_us, every_us, clock: Some(WindowClock::Processing) }, row }
    }

    /// The end of the slice that an instant is in.
    pub fn slice_end(&self, at_us: i64) -> i64 {
        let every_us = self.edge.every_us;
        at_us.div_euclid(every_us).saturating_add(1).saturating_mul(every_us)
    }

    /// The ends of the slices, of those there may be, that go between two instants.
    pub fn over(&self, before_us: i64, now_us: i64) -> Vec<i64> {
        let Edge { to_end_us, every_us, .. } = self.edge;
        let start = |at_us: i64| at_us - at_us.rem_euclid(every_us);
        let gone = start(before_us).saturating_sub(to_end_us);
        let last = start(now_us).saturating_sub(to_end_us).min(self.slice_end(before_us));
        let mut ends = Vec::new();
        let mut end = gone.saturating_add(every_us);
        while end <= last {
            ends.push(end);
            end += every_us;
        }
        ends
    }
}

impl Builder {
    /// Lets rows that only come go after the view's `ttl`, if it has one. What reads
    /// them is an operator with state, or the view itself: steps were taken before.
    pub fn bound(&mut self, built: &mut Built) {
        let Some(ttl_us) = self.ttl_us.filter(|_| built.appends) else { return };
        if !matches!(self.nodes[built.node].operator, Operator::Read(_)) {
            return;
        }
        let plan = TtlPlan::new(ttl_us, loose(&built.schema));
        built.node = self.add(Operator::Ttl(plan), vec![built.node]);
        built.appends = false;
        built.guarded = false;
        // Windows are not closed: their rows go when their time is over.
        for origin in &mut built.origins {
            *origin = match *origin {
                Origin::Edge(edge) => Origin::Edge(Edge { clock: None, ..edge }),
                Origin::Edges(edge) => Origin::Edges(Edge { clock: None, ..edge }),
                Origin::Time | Origin::Processing => Origin::Other,
                other => other,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::Schema;

    use super::*;

    /// Whatever the steps of time: each slice goes once, when its time is over.
    #[test]
    fn slices_go_once_and_in_time() {
        for ttl_us in [1, 999, 64_000, 1_000_000, 86_400_000_000] {
            let plan = TtlPlan::new(ttl_us, Arc::new(Schema::empty()));
            for step in [1, 500, 1_000, 7_919, ttl_us / 3 + 1, ttl_us * 3] {
                let (mut kept, mut now) = (Vec::new(), 1_700_000_000_000_000_i64);
                for _ in 0..300 {
                    let before = now;
                    now += step;
                    let over = plan.over(before, now);
                    kept.retain(|(_, end)| !over.contains(end));
                    let every = plan.edge.every_us;
                    assert!(kept.iter().all(|(came, _)| now - came <= plan.edge.to_end_us + 2 * every));
                    for end in &over {
                        assert!(now - end >= ttl_us, "gone too early");
                    }
                    assert!(over.len() <= SLICES as usize + 3);
                    kept.push((now, plan.slice_end(now)));
                }
            }
        }
    }
}
