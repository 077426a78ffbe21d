//! What a Protobuf schema says: files as they were read, and all their messages
//! and enums by full name.

use std::collections::HashMap;

use crate::error::FormatError;

/// Longest schema (text or descriptors), in bytes.
pub(super) const SCHEMA_BYTES_MAX: usize = 4 << 20;

/// A file, with the names of types as they stand there.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct FileDef {
    pub(super) package: String,
    pub(super) messages: Vec<MessageDef>,
    pub(super) enums: Vec<EnumDef>,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct MessageDef {
    pub(super) name: String,
    pub(super) fields: Vec<FieldDef>,
    pub(super) messages: Vec<MessageDef>,
    pub(super) enums: Vec<EnumDef>,
    /// Whether it stands for the entries of a map.
    pub(super) map_entry: bool,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct FieldDef {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) repeated: bool,
    /// Whether a field that is not written is absent rather than its default.
    pub(super) presence: bool,
    pub(super) kind: FieldKind,
    /// Which oneof of its message it is in.
    pub(super) oneof: Option<u32>,
}

/// The type of a field's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FieldKind {
    Scalar(Scalar),
    /// A message or enum; with a leading dot by full name, else by scope.
    Named(String),
    /// What nobody reads: groups.
    Group,
}

impl Default for FieldKind {
    fn default() -> Self {
        Self::Scalar(Scalar::Int32)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    Text,
    Bytes,
    Uint32,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
}

impl Scalar {
    /// By the name in a `.proto` text.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "double" => Self::Double,
            "float" => Self::Float,
            "int64" => Self::Int64,
            "uint64" => Self::Uint64,
            "int32" => Self::Int32,
            "fixed64" => Self::Fixed64,
            "fixed32" => Self::Fixed32,
            "bool" => Self::Bool,
            "string" => Self::Text,
            "bytes" => Self::Bytes,
            "uint32" => Self::Uint32,
            "sfixed32" => Self::Sfixed32,
            "sfixed64" => Self::Sfixed64,
            "sint32" => Self::Sint32,
            "sint64" => Self::Sint64,
            _ => return None,
        })
    }
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct EnumDef {
    pub(super) name: String,
    pub(super) values: Vec<(String, i32)>,
}

impl EnumDef {
    /// The name of a number, the first if it has several.
    pub(super) fn symbol(&self, number: i32) -> Option<&str> {
        self.values.iter().find(|(_, value)| *value == number).map(|(name, _)| name.as_str())
    }
}

/// All messages and enums, by full name without a leading dot.
#[derive(Debug, Default)]
pub(super) struct Types {
    messages: HashMap<String, Message>,
    enums: HashMap<String, EnumDef>,
}

/// A message and where it stands.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) definition: MessageDef,
    /// Its index in the file, or in the message around it, from the outside in.
    pub(super) path: Vec<u32>,
}

/// A type found by name.
pub(super) enum Named<'a> {
    Message(&'a str, &'a MessageDef),
    Enum(&'a EnumDef),
}

impl Types {
    /// Adds the types of a file; one that is there already stays.
    pub(super) fn add(&mut self, file: FileDef) {
        for (index, message) in file.messages.into_iter().enumerate() {
            self.add_message(message, &file.package, &[], index);
        }
        self.add_enums(file.enums, &file.package);
    }

    fn add_message(&mut self, mut message: MessageDef, scope: &str, outside: &[u32], index: usize) {
        let full = joined(scope, &message.name);
        let mut path = outside.to_vec();
        path.push(u32::try_from(index).unwrap_or(u32::MAX));
        for (index, inner) in std::mem::take(&mut message.messages).into_iter().enumerate() {
            self.add_message(inner, &full, &path, index);
        }
        self.add_enums(std::mem::take(&mut message.enums), &full);
        self.messages.entry(full).or_insert(Message { definition: message, path });
    }

    fn add_enums(&mut self, enums: Vec<EnumDef>, scope: &str) {
        for definition in enums {
            self.enums.entry(joined(scope, &definition.name)).or_insert(definition);
        }
    }

    /// A message by its full name, or by its own name if only one has it.
    pub(super) fn message(&self, name: &str) -> Result<(&str, &Message), FormatError> {
        let name = name.trim_start_matches('.');
        if let Some((full, message)) = self.messages.get_key_value(name) {
            return Ok((full, message));
        }
        let own = |full: &str| full.rsplit('.').next() == Some(name);
        let mut found: Vec<_> = self.messages.iter().filter(|(full, _)| own(full)).collect();
        match (found.pop(), found.is_empty()) {
            (Some((full, message)), true) => Ok((full, message)),
            (Some(_), false) => {
                Err(invalid(&format!("several messages are named `{name}`; give the package too")))
            }
            (None, _) => Err(invalid(&format!("it has no message `{name}`{}", self.offer()))),
        }
    }

    fn offer(&self) -> String {
        let mut names: Vec<_> =
            self.messages.keys().filter(|name| !name.starts_with("google.protobuf.")).cloned().collect();
        names.sort();
        names.truncate(10);
        if names.is_empty() { String::new() } else { format!("; it has {}", names.join(", ")) }
    }

    /// The type that `name` means inside message `scope`: the innermost scope
    /// that has it.
    pub(super) fn find(&self, name: &str, scope: &str) -> Option<Named<'_>> {
        let by_full = |full: &str| match self.messages.get_key_value(full) {
            Some((full, message)) => Some(Named::Message(full, &message.definition)),
            None => self.enums.get(full).map(Named::Enum),
        };
        if let Some(full) = name.strip_prefix('.') {
            return by_full(full);
        }
        let mut scope = scope;
        loop {
            if let Some(found) = by_full(&joined(scope, name)) {
                return Some(found);
            }
            if scope.is_empty() {
                return None;
            }
            scope = scope.rsplit_once('.').map_or("", |(outside, _)| outside);
        }
    }
}

fn joined(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

pub(super) fn invalid(problem: &str) -> FormatError {
    FormatError::Invalid(format!("the Protobuf schema: {problem}"))
}
