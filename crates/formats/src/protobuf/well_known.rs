//! Google's well-known types, which schemas import without bringing their text.

use super::descriptor::Types;
use super::text;
use crate::error::FormatError;

/// Their fields, as `google/protobuf/*.proto` define them.
const TEXT: &str = r#"
syntax = "proto3";
package google.protobuf;

message Timestamp { int64 seconds = 1; int32 nanos = 2; }
message Duration { int64 seconds = 1; int32 nanos = 2; }
message Any { string type_url = 1; bytes value = 2; }
message Empty {}
message FieldMask { repeated string paths = 1; }
message DoubleValue { double value = 1; }
message FloatValue { float value = 1; }
message Int64Value { int64 value = 1; }
message UInt64Value { uint64 value = 1; }
message Int32Value { int32 value = 1; }
message UInt32Value { uint32 value = 1; }
message BoolValue { bool value = 1; }
message StringValue { string value = 1; }
message BytesValue { bytes value = 1; }
enum NullValue { NULL_VALUE = 0; }
message Struct { map<string, Value> fields = 1; }
message ListValue { repeated Value values = 1; }
message Value {
  oneof kind {
    NullValue null_value = 1;
    double number_value = 2;
    string string_value = 3;
    bool bool_value = 4;
    Struct struct_value = 5;
    ListValue list_value = 6;
  }
}
"#;

/// The point in time.
pub(super) const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// Whether a message is one of the wrappers, whose one field is the value.
pub(super) fn is_wrapper(full_name: &str) -> bool {
    let name = full_name.strip_prefix("google.protobuf.").unwrap_or("");
    name.len() > "Value".len() && name.ends_with("Value") && !matches!(name, "NullValue" | "ListValue")
}

/// Whether an import needs no text.
pub(super) fn is_known(path: &str) -> bool {
    path.starts_with("google/protobuf/") || path.starts_with("confluent/")
}

/// Adds them.
pub(super) fn add(types: &mut Types) -> Result<(), FormatError> {
    types.add(text::file(TEXT)?.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_known() {
        let mut types = Types::default();
        add(&mut types).unwrap();
        assert_eq!(types.message(TIMESTAMP).unwrap().1.definition.fields.len(), 2);
        for name in ["StringValue", "Int64Value", "UInt32Value", "BoolValue", "BytesValue"] {
            let full = format!("google.protobuf.{name}");
            assert!(is_wrapper(&full));
            types.message(&full).unwrap();
        }
        assert!(!is_wrapper("google.protobuf.Value") && !is_wrapper("shop.MyValue"));
    }
}
