//! Avro schemas: their JSON text (Avro 1.11) as a list of types that refer to
//! each other by place, so that a type may contain itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::FormatError;

/// Longest schema text, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// The place of a type in its schema.
pub(super) type TypeId = usize;

#[derive(Debug, Clone)]
pub(super) enum Type {
    Null,
    Scalar(Scalar),
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    /// Fields in the order in which they are written.
    Record(Vec<(String, TypeId)>),
}

/// A type without parts, with its logical type resolved.
#[derive(Debug, Clone)]
pub(super) enum Scalar {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Arc<[String]>),
    /// `fixed` is its size; `None`: it is written as bytes.
    Decimal {
        scale: i32,
        fixed: Option<usize>,
    },
    Date,
    TimeMs,
    TimeUs,
    TimestampMs,
    TimestampUs,
    TimestampNs,
    /// A UUID as 16 bytes; one as text is text.
    Uuid,
}

/// A schema whose root is a record.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) types: Vec<Type>,
    pub(super) root: TypeId,
}

impl Schema {
    /// Reads a schema's text.
    pub(super) fn parse(text: &str) -> Result<Self, FormatError> {
        if text.len() > TEXT_BYTES_MAX {
            let message =
                format!("an Avro schema has at most {TEXT_BYTES_MAX} bytes, this one {}", text.len());
            return Err(FormatError::Invalid(message));
        }
        let json: Value = serde_json::from_str(text)
            .map_err(|error| FormatError::Invalid(format!("the Avro schema is no JSON: {error}")))?;
        let mut parser = Parser { types: Vec::new(), named: HashMap::new() };
        let root = parser.of(&json, "")?;
        match parser.types[root] {
            Type::Record(_) => Ok(Self { types: parser.types, root }),
            _ => Err(invalid("its root must be a record, whose fields fill the columns")),
        }
    }
}

fn invalid(problem: &str) -> FormatError {
    FormatError::Invalid(format!("the Avro schema: {problem}"))
}

struct Parser {
    types: Vec<Type>,
    /// Named types by full name.
    named: HashMap<String, TypeId>,
}

impl Parser {
    fn add(&mut self, kind: Type) -> TypeId {
        self.types.push(kind);
        self.types.len() - 1
    }

    /// The type that `json` describes inside `namespace`.
    fn of(&mut self, json: &Value, namespace: &str) -> Result<TypeId, FormatError> {
        match json {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => {
                let branches: Result<Vec<_>, _> =
                    branches.iter().map(|branch| self.of(branch, namespace)).collect();
                let branches = branches?;
                if branches.iter().any(|branch| matches!(self.types[*branch], Type::Union(_))) {
                    return Err(invalid("a union stands directly in a union"));
                }
                Ok(self.add(Type::Union(branches)))
            }
            Value::Object(object) => self.of_object(object, namespace),
            other => Err(invalid(&format!("expected a type, found {other}"))),
        }
    }

    fn by_name(&mut self, name: &str, namespace: &str) -> Result<TypeId, FormatError> {
        let scalar = match name {
            "null" => return Ok(self.add(Type::Null)),
            "boolean" => Scalar::Boolean,
            "int" => Scalar::Int,
            "long" => Scalar::Long,
            "float" => Scalar::Float,
            "double" => Scalar::Double,
            "bytes" => Scalar::Bytes,
            "string" => Scalar::Text,
            _ => {
                let full = full_name(name, namespace);
                let found = self.named.get(&full).or_else(|| self.named.get(name));
                return found.copied().ok_or_else(|| invalid(&format!("type `{full}` is not defined")));
            }
        };
        Ok(self.add(Type::Scalar(scalar)))
    }

    fn of_object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, FormatError> {
        let kind = object.get("type").ok_or_else(|| invalid("a type without \"type\""))?;
        let Value::String(kind) = kind else { return self.of(kind, namespace) };
        match kind.as_str() {
            "array" | "map" => {
                let part = if kind == "array" { "items" } else { "values" };
                let json =
                    object.get(part).ok_or_else(|| invalid(&format!("an {kind} without \"{part}\"")))?;
                let id = self.of(json, namespace)?;
                Ok(self.add(if kind == "array" { Type::Array(id) } else { Type::Map(id) }))
            }
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = object.get("symbols").and_then(Value::as_array);
                let symbols = symbols.ok_or_else(|| invalid("an enum without \"symbols\""))?;
                let symbols = symbols.iter().map(|it| it.as_str().map(str::to_owned));
                let symbols: Option<Arc<[String]>> = symbols.collect();
                let symbols = symbols.ok_or_else(|| invalid("an enum's symbol that is no string"))?;
                let id = self.add(Type::Scalar(Scalar::Enum(symbols)));
                self.name(object, namespace, id).map(|_| id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|it| usize::try_from(it).ok());
                let size = size.ok_or_else(|| invalid("a fixed without \"size\""))?;
                let id = self.add(Type::Scalar(logical(Scalar::Fixed(size), object)));
                self.name(object, namespace, id).map(|_| id)
            }
            name => {
                let id = self.by_name(name, namespace)?;
                match &self.types[id] {
                    // A name for a type defined elsewhere carries no logical type.
                    Type::Scalar(scalar) if id + 1 == self.types.len() => {
                        self.types[id] = Type::Scalar(logical(scalar.clone(), object));
                    }
                    _ => {}
                }
                Ok(id)
            }
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, FormatError> {
        // Its place comes first, so that its fields can refer to it.
        let id = self.add(Type::Record(Vec::new()));
        let inside = self.name(object, namespace, id)?;
        let fields = object.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| invalid("a record without \"fields\""))?;
        let mut read = Vec::with_capacity(fields.len());
        let mut names = HashSet::with_capacity(fields.len());
        for field in fields {
            let name = field.get("name").and_then(Value::as_str);
            let name = name.ok_or_else(|| invalid("a field without \"name\""))?;
            let kind =
                field.get("type").ok_or_else(|| invalid(&format!("field `{name}` has no \"type\"")))?;
            if !names.insert(name) {
                return Err(invalid(&format!("two fields `{name}` in one record")));
            }
            read.push((name.to_owned(), self.of(kind, &inside)?));
        }
        self.types[id] = Type::Record(read);
        Ok(id)
    }

    /// Remembers a named type; gives the namespace inside it.
    fn name(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        id: TypeId,
    ) -> Result<String, FormatError> {
        let name = object.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| invalid("a record, enum or fixed without \"name\""))?;
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, namespace);
        let inside = full.rsplit_once('.').map_or(String::new(), |(inside, _)| inside.to_owned());
        match self.named.insert(full.clone(), id) {
            None => Ok(inside),
            Some(_) => Err(invalid(&format!("type `{full}` is defined twice"))),
        }
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// A scalar with its logical type; one that is unknown or does not fit its
/// scalar counts as absent, as the standard says.
fn logical(scalar: Scalar, object: &Map<String, Value>) -> Scalar {
    let name = object.get("logicalType").and_then(Value::as_str).unwrap_or("");
    match (scalar, name) {
        (Scalar::Bytes, "decimal") => decimal(object, None).unwrap_or(Scalar::Bytes),
        (Scalar::Fixed(size), "decimal") => decimal(object, Some(size)).unwrap_or(Scalar::Fixed(size)),
        (Scalar::Fixed(16), "uuid") => Scalar::Uuid,
        (Scalar::Int, "date") => Scalar::Date,
        (Scalar::Int, "time-millis") => Scalar::TimeMs,
        (Scalar::Long, "time-micros") => Scalar::TimeUs,
        (Scalar::Long, "timestamp-millis" | "local-timestamp-millis") => Scalar::TimestampMs,
        (Scalar::Long, "timestamp-micros" | "local-timestamp-micros") => Scalar::TimestampUs,
        (Scalar::Long, "timestamp-nanos" | "local-timestamp-nanos") => Scalar::TimestampNs,
        (scalar, _) => scalar,
    }
}

fn decimal(object: &Map<String, Value>, fixed: Option<usize>) -> Option<Scalar> {
    let precision = object.get("precision").and_then(Value::as_u64)?;
    let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
    let fits = scale <= precision && (1..=1000).contains(&precision);
    fits.then_some(Scalar::Decimal { scale: i32::try_from(scale).ok()?, fixed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        Schema::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_type_may_contain_itself() {
        let schema = Schema::parse(
            r#"{"type":"record","name":"a.Node","fields":[
                {"name":"next","type":["null","Node"]},
                {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["A"]}},
                {"name":"other","type":"a.Kind"}]}"#,
        )
        .unwrap();
        let Type::Record(fields) = &schema.types[schema.root] else { unreachable!() };
        let Type::Union(branches) = &schema.types[fields[0].1] else { unreachable!() };
        assert_eq!(branches[1], schema.root);
        assert_eq!(fields[1].1, fields[2].1);
    }

    #[test]
    fn logical_types_that_do_not_fit_count_as_absent() {
        let kind = |json: &str| {
            let text = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"x","type":{json}}}]}}"#);
            let schema = Schema::parse(&text).unwrap();
            let Type::Record(fields) = &schema.types[schema.root] else { unreachable!() };
            format!("{:?}", schema.types[fields[0].1])
        };
        assert_eq!(kind(r#"{"type":"int","logicalType":"date"}"#), "Scalar(Date)");
        assert_eq!(kind(r#"{"type":"long","logicalType":"date"}"#), "Scalar(Long)");
        assert_eq!(kind(r#"{"type":{"type":"int","logicalType":"date"}}"#), "Scalar(Date)");
        assert_eq!(
            kind(r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":3}"#),
            "Scalar(Bytes)"
        );
    }

    #[test]
    fn faults_are_named() {
        assert!(reason("{").starts_with("the Avro schema is no JSON"));
        assert!(reason("\"int\"").contains("its root must be a record"));
        let field = |kind: &str| {
            reason(&format!(r#"{{"type":"record","name":"R","fields":[{{"name":"x","type":{kind}}}]}}"#))
        };
        assert!(field("\"Missing\"").contains("type `Missing` is not defined"));
        assert!(field("5").contains("expected a type, found 5"));
        assert!(field(r#"{"type":"enum","name":"E"}"#).contains("without \"symbols\""));
        assert!(field(r#"{"type":"fixed","name":"R","size":1}"#).contains("defined twice"));
        assert!(field(r#"[["int"]]"#).contains("a union stands directly"));
        assert!(reason(&" ".repeat(TEXT_BYTES_MAX + 1)).contains("at most"));
        assert!(reason(&"[".repeat(100_000)).contains("no JSON"));
    }
}
