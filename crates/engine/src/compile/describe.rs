//! Operators in words, for people who look at a view's plan.

use super::aggregate::{AggregatePlan, Function, Upkeep};
use super::join::{Half, JoinPlan};
use super::over::{OverPlan, RankFunction, RankKind};
use super::plan::{Operator, Read, Step, ViewPlan};

impl ViewPlan {
    /// What its state belongs to: each operator that keeps any, at its place. A plan
    /// with another signature cannot go on with it. Stored as a hash, so it must not
    /// change without need.
    pub fn signature(&self) -> String {
        self.nodes.iter().map(|node| node.operator.signature()).collect::<Vec<_>>().join("; ")
    }
}

impl Operator {
    fn signature(&self) -> String {
        match self {
            Self::Read(_) | Self::Steps(_) | Self::Union(_) | Self::Values(_) => "-".to_owned(),
            Self::Changelog(plan) => format!("changelog {}", plan.key.len()),
            Self::Aggregate(plan) => {
                let names: Vec<_> = plan.functions.iter().map(|f| f.aggregate.fun().name()).collect();
                format!("aggregate {} {}", plan.groups.len(), names.join(", "))
            }
            Self::Join(plan) => format!("{} join {}", kind_of(plan), plan.key_types.len()),
            Self::Over(plan) => format!("over {} {}", plan.partition.len(), plan.functions.len()),
            Self::Session(plan) => format!("session {}", plan.keys.len()),
            Self::Hold(_) => "hold".to_owned(),
            Self::Ttl(_) => "ttl".to_owned(),
        }
    }

    /// What it does, in a line.
    pub fn describe(&self, reads: &[Read]) -> String {
        match self {
            Self::Read(read) => {
                let read = &reads[*read];
                let kind = if read.is_stream { "stream" } else { "view" };
                format!("read {kind} {}{}", read.name, steps(": ", &read.steps))
            }
            Self::Changelog(plan) if plan.key.is_empty() => "changes of rows, made sound".to_owned(),
            Self::Changelog(plan) => format!("the last row by {} columns", plan.key.len()),
            Self::Values(rows) => format!("{} rows of the query", rows.num_rows()),
            Self::Steps(all) => steps("", all),
            Self::Union(_) => "union".to_owned(),
            Self::Aggregate(plan) => aggregate(plan),
            Self::Join(plan) => join(plan),
            Self::Over(plan) => over(plan),
            Self::Session(plan) => {
                format!("sessions by {} columns, gap {} ms", plan.keys.len(), plan.gap_us / 1000)
            }
            Self::Hold(_) => "hold until the window is closed".to_owned(),
            Self::Ttl(plan) => format!("rows of the last {} s", plan.edge.to_end_us as f64 / 1e6),
        }
    }
}

fn steps(before: &str, steps: &[Step]) -> String {
    let name = |step: &Step| match step {
        Step::Filter(_) => "filter".to_owned(),
        Step::Project { .. } => "project".to_owned(),
        Step::Unnest(_) => "unnest".to_owned(),
        Step::Lookup(lookup) => format!("look up {}", lookup.table),
    };
    if steps.is_empty() {
        return String::new();
    }
    format!("{before}{}", steps.iter().map(name).collect::<Vec<_>>().join(", "))
}

fn aggregate(plan: &AggregatePlan) -> String {
    // The planner writes count(*) so.
    let name = |f: &Function| f.aggregate.name().replace("count(Int64(1))", "count(*)");
    let names: Vec<_> = plan.functions.iter().map(name).collect();
    let by = if plan.constant { "all rows".to_owned() } else { format!("{} columns", plan.groups.len()) };
    let how = match plan.upkeep {
        _ if plan.whole => "whole windows",
        Upkeep::Merge => "rows are only added",
        Upkeep::Add(_) => "rows are added and subtracted",
        Upkeep::Anew => "groups are computed anew",
    };
    format!("aggregate {by}: {} ({how})", names.join(", "))
}

fn kind_of(plan: &JoinPlan) -> &'static str {
    match plan.kind.half {
        Some(Half::Semi) => "semi",
        Some(Half::Anti) => "anti",
        Some(Half::Mark) => "mark",
        None => match (plan.kind.left_alone, plan.kind.right_alone) {
            (false, false) => "inner",
            (true, false) => "left",
            (false, true) => "right",
            (true, true) => "full",
        },
    }
}

fn join(plan: &JoinPlan) -> String {
    let condition = if plan.condition.is_some() { " and a condition" } else { "" };
    let how = match (plan.whole, plan.left.appends && plan.right.appends) {
        (true, _) => "whole windows",
        (false, true) => "rows are only added",
        (false, false) => "rows may be taken back",
    };
    format!("{} join by {} columns{condition} ({how})", kind_of(plan), plan.key_types.len())
}

fn over(plan: &OverPlan) -> String {
    let name = |function: &RankFunction| match function {
        RankFunction::Rank(RankKind::RowNumber) => "row_number".to_owned(),
        RankFunction::Rank(RankKind::Rank) => "rank".to_owned(),
        RankFunction::Rank(RankKind::DenseRank) => "dense_rank".to_owned(),
        RankFunction::Other(function) => function.name().to_owned(),
    };
    let names: Vec<_> = plan.functions.iter().map(name).collect();
    let limit = plan.limit.map(|(_, limit)| format!(", the first {limit}")).unwrap_or_default();
    let kept = if plan.forgets() { ", others are forgotten" } else { "" };
    format!("over {} columns: {}{limit}{kept}", plan.partition.len(), names.join(", "))
}
