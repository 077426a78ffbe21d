//! How the fields of a written record meet the declared columns: worked out once
//! per schema, so that reading a record looks up no name.

use super::schema::{Scalar, Schema, Type, TypeId};
use crate::column::{Node, Object, Slot};
use crate::error::FormatError;

/// Most parts of one plan; only a schema of unions in unions of records nears it.
const PARTS_MAX: usize = 65_536;

/// How to read a value of one type into one column.
#[derive(Debug)]
pub(super) enum Plan {
    /// Pass over it.
    Skip(TypeId),
    /// Pass over it: the column takes no such thing.
    Mismatch(TypeId, &'static str),
    Null,
    Scalar(Scalar),
    Array(Box<Plan>),
    Map(Box<Plan>),
    Union(Vec<Plan>),
    Record(RecordPlan),
}

/// How to read a record into the columns of an object.
#[derive(Debug)]
pub(super) struct RecordPlan {
    /// The fields as they are written, each with its column if it has one.
    pub(super) fields: Vec<(Option<usize>, Plan)>,
    /// The columns that the record has no field for.
    pub(super) missing: Vec<usize>,
}

/// The plan for records of `schema`.
pub(super) fn plan(schema: &Schema, root: &Object<()>) -> Result<RecordPlan, FormatError> {
    let mut planner = Planner { types: &schema.types, parts: 0 };
    match &schema.types[schema.root] {
        Type::Record(fields) => planner.record(fields, root),
        _ => Err(FormatError::Invalid("the Avro schema's root is no record".to_owned())),
    }
}

struct Planner<'a> {
    types: &'a [Type],
    parts: usize,
}

impl Planner<'_> {
    fn record(
        &mut self,
        fields: &[(String, TypeId)],
        object: &Object<()>,
    ) -> Result<RecordPlan, FormatError> {
        // An exact name goes before one in another case.
        let exact = |name: &str| object.slots.iter().position(|slot| slot.name() == name);
        let mut columns: Vec<Option<usize>> = fields.iter().map(|(name, _)| exact(name)).collect();
        for (place, (name, _)) in fields.iter().enumerate() {
            let column = object.position(name);
            if columns[place].is_none() && !columns.contains(&column) {
                columns[place] = column;
            }
        }
        let missing = (0..object.slots.len()).filter(|column| !columns.contains(&Some(*column))).collect();
        let plans = columns.into_iter().zip(fields).map(|(column, (_, id))| match column {
            Some(column) => Ok((Some(column), self.value(*id, &object.slots[column])?)),
            None => Ok((None, Plan::Skip(*id))),
        });
        Ok(RecordPlan { fields: plans.collect::<Result<_, FormatError>>()?, missing })
    }

    /// Ends because every step into a record, array or map is a step into the
    /// columns too, which nest to a bounded depth.
    fn value(&mut self, id: TypeId, slot: &Slot<()>) -> Result<Plan, FormatError> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            let message = format!("the Avro schema has more than {PARTS_MAX} ways to fill the columns");
            return Err(FormatError::Invalid(message));
        }
        Ok(match (&self.types[id], &slot.node) {
            (Type::Null, _) => Plan::Null,
            (Type::Union(branches), _) => {
                let plans: Result<_, _> = branches.iter().map(|branch| self.value(*branch, slot)).collect();
                Plan::Union(plans?)
            }
            (Type::Scalar(scalar), Node::Scalar(_)) => Plan::Scalar(scalar.clone()),
            (Type::Record(fields), Node::Struct(node)) => Plan::Record(self.record(fields, &node.object)?),
            (Type::Array(item), Node::List(node)) => Plan::Array(Box::new(self.value(*item, &node.element)?)),
            (Type::Map(value), Node::Map(node)) => Plan::Map(Box::new(self.value(*value, &node.value)?)),
            (Type::Record(_), _) => Plan::Mismatch(id, "a record"),
            (Type::Array(_), _) => Plan::Mismatch(id, "an array"),
            (Type::Map(_), _) => Plan::Mismatch(id, "a map"),
            (Type::Scalar(_), _) => Plan::Mismatch(id, "a scalar"),
        })
    }
}
