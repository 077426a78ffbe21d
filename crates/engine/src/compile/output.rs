//! What becomes of a view's rows: how they are stored, and under which key.

use datafusion::arrow::datatypes::{DataType, Field};
use pluvio_catalog::{Column, ViewKind};
use pluvio_query::QueryError;
use pluvio_query::rows::loose;
use pluvio_query::tables::{COPIES, ROW};

use super::Emission;
use super::builder::{Builder, Built, Identity, storable};
use super::origin::{Origin, Window};
use super::plan::{HoldPlan, How, Node, Operator, Output, Step, ViewPlan};

/// The finished view.
pub fn finish(mut builder: Builder, root: Built) -> Result<ViewPlan, QueryError> {
    if builder.reads.is_empty() {
        return Err(QueryError::unsupported(
            "a continuous query reads a stream or a view: FROM is missing, or its conditions are never true",
        ));
    }
    let bounds = |node: &Node| matches!(node.operator, Operator::Ttl(_));
    if builder.ttl_us.is_some() && !builder.nodes.iter().any(bounds) {
        return Err(QueryError::invalid(
            "ttl is how long rows stay that only come, and this query keeps none: it reads views that update their \
             rows, streams of changes, or sessions, which end by themselves. Leave ttl out",
        ));
    }
    let mut stored: Vec<Column> = Vec::new();
    for field in root.schema.fields() {
        if stored.iter().any(|c| c.name == *field.name()) {
            let message = format!("two columns are called \"{}\"; name one with AS", field.name());
            return Err(QueryError::invalid(message));
        }
        stored.push(column(field.name(), field));
    }
    let visible = stored.len();
    let mut stored_from: Vec<usize> = (0..visible).collect();
    let time = root.origins.iter().position(|o| *o == Origin::Time);
    let mut window = None;
    let (kind, how) = if builder.on_close {
        (ViewKind::Append { time_column: None }, close(&builder, &root)?)
    } else if root.appends {
        let time_column = time.map(|i| root.schema.field(i).name().clone());
        (ViewKind::Append { time_column }, How::Append)
    } else if let Some(identity) = &root.identity {
        let mut key = Vec::new();
        for (i, place) in identity.now.iter().enumerate() {
            let origin = root.origins.get(*place).copied();
            let edge =
                origin.or_else(|| Some(root.carried.get(*place - visible)?.1)).and_then(Origin::closing_edge);
            window = window.or(edge.map(|edge| Window { place: i, edge }));
            key.push(match *place < visible {
                true => *place,
                false => {
                    stored.push(column(&format!("$key{i}"), &root.carried[*place - visible].0));
                    stored_from.push(*place);
                    stored.len() - 1
                }
            });
        }
        (ViewKind::Keyed { key }, replace(&mut builder, &root, identity))
    } else {
        let key = vec![stored.len()];
        stored.push(Column {
            name: ROW.to_owned(),
            data_type: DataType::FixedSizeBinary(16),
            nullable: true,
        });
        stored.push(Column { name: COPIES.to_owned(), data_type: DataType::Int64, nullable: true });
        (ViewKind::Keyed { key }, How::Count)
    };
    let output = Output { stored, stored_from, visible, kind, how, window };
    Ok(ViewPlan { reads: builder.reads, nodes: builder.nodes, output, lookups: builder.lookups })
}

fn column(name: &str, field: &Field) -> Column {
    Column { name: name.to_owned(), data_type: storable(field.data_type()), nullable: true }
}

/// Rows wait for their window's end: in the operators of the plan, or behind
/// everything.
fn close(builder: &Builder, root: &Built) -> Result<How, QueryError> {
    if root.appends && builder.waits {
        return Ok(How::Append);
    }
    let edge = root.origins.iter().enumerate().find_map(|(i, o)| Some((i, o.closing_edge()?)));
    let Some((column, edge)) = edge else {
        return Err(QueryError::invalid(
            "EMIT ON WINDOW CLOSE needs a window's end among the columns or in GROUP BY: window_end (or, but for \
             CUMULATE, window_start) of a window over the stream's WATERMARK column",
        ));
    };
    if root.by_key_only {
        return Err(QueryError::unsupported(
            "EMIT ON WINDOW CLOSE behind a lookup of rows that change: join the table before the rows are grouped",
        ));
    }
    let (guarded, appends) = (root.guarded, root.appends);
    Ok(How::OnClose(HoldPlan { column, edge, guarded, appends, row: loose(&root.schema) }))
}

/// Rows are replaced by key: the steps behind the last operator belong to that,
/// because they may look up tables that have changed since the old rows.
fn replace(builder: &mut Builder, root: &Built, identity: &Identity) -> How {
    let mut tail: Vec<Step> = Vec::new();
    match &mut builder.nodes[root.node].operator {
        Operator::Steps(steps) => {
            tail.append(steps);
            builder.nodes.pop();
        }
        Operator::Read(read) => tail.append(&mut builder.reads[*read].steps),
        _ => {}
    }
    if let Some(Operator::Aggregate(aggregate)) = builder.nodes.last_mut().map(|node| &mut node.operator) {
        aggregate.emission = Emission::Replace;
    }
    How::Replace { key: identity.made.clone(), tail }
}
