//! `.proto` texts (proto2, proto3, editions), as far as reading records needs
//! them: messages, enums and fields. Options, services, extensions and reserved
//! numbers are passed over. What a compiler would refuse for other reasons is
//! not refused here.

use super::descriptor::{
    EnumDef, FieldDef, FieldKind, FileDef, MessageDef, SCHEMA_BYTES_MAX, Scalar, invalid,
};
use super::lexer::{Lexer, Token};
use crate::error::FormatError;

/// How deep messages may be defined in each other.
const DEPTH_MAX: u32 = 32;
/// Largest field number of the language.
const FIELD_NUMBER_MAX: i64 = 0x1fff_ffff;

/// A file and what it imports.
pub(super) fn file(text: &str) -> Result<(FileDef, Vec<String>), FormatError> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(invalid(&format!("at most {SCHEMA_BYTES_MAX} bytes, this one has {}", text.len())));
    }
    let mut parser = Parser { lexer: Lexer::new(text)?, presence: true };
    let (mut file, mut imports) = (FileDef::default(), Vec::new());
    loop {
        match parser.lexer.peek() {
            Token::End => return Ok((file, imports)),
            Token::Mark(';') => {
                parser.lexer.next()?;
            }
            Token::Word(word) => {
                parser.lexer.next()?;
                parser.statement(word, &mut file, &mut imports)?;
            }
            _ => return Err(parser.lexer.fault("expected a statement")),
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// Whether fields of the file tell their absence unless they say otherwise.
    presence: bool,
}

impl Parser<'_> {
    fn statement(
        &mut self,
        word: &str,
        file: &mut FileDef,
        imports: &mut Vec<String>,
    ) -> Result<(), FormatError> {
        match word {
            "syntax" => {
                self.lexer.expect('=')?;
                self.presence = self.lexer.next()? != Token::Text("proto3");
                self.lexer.expect(';')
            }
            "package" => {
                self.lexer.word()?.clone_into(&mut file.package);
                self.lexer.expect(';')
            }
            "import" => {
                if matches!(self.lexer.peek(), Token::Word("public" | "weak" | "option")) {
                    self.lexer.next()?;
                }
                let Token::Text(path) = self.lexer.next()? else {
                    return Err(self.lexer.fault("expected the path of an import"));
                };
                imports.push(path.to_owned());
                self.lexer.expect(';')
            }
            "option" => {
                if let Some(presence) = self.presence_option()? {
                    self.presence = presence;
                }
                self.lexer.skip_statement()
            }
            "message" => {
                file.messages.push(self.message(0)?);
                Ok(())
            }
            "enum" => {
                file.enums.push(self.enumeration()?);
                Ok(())
            }
            "edition" | "service" | "extend" => self.lexer.skip_statement(),
            other => Err(self.lexer.fault(&format!("`{other}` starts no statement"))),
        }
    }

    /// Behind `option` or in brackets: what an option says of presence. Ends at
    /// the value at the latest.
    fn presence_option(&mut self) -> Result<Option<bool>, FormatError> {
        if self.lexer.peek() != Token::Word("features.field_presence") {
            return Ok(None);
        }
        self.lexer.next()?;
        self.lexer.expect('=')?;
        Ok(Some(self.lexer.peek() != Token::Word("IMPLICIT")))
    }

    /// Behind `message`.
    fn message(&mut self, depth: u32) -> Result<MessageDef, FormatError> {
        if depth > DEPTH_MAX {
            return Err(self.lexer.fault("messages are defined more than 32 levels deep"));
        }
        let mut message = MessageDef { name: self.lexer.word()?.to_owned(), ..MessageDef::default() };
        self.lexer.expect('{')?;
        let mut oneofs = 0;
        while !self.lexer.take('}')? {
            if self.lexer.take(';')? {
                continue;
            }
            let Token::Word(word) = self.lexer.next()? else {
                return Err(self.lexer.fault("expected a field"));
            };
            // A type may be named like a statement; then a name follows, not a block.
            match word {
                "message" => message.messages.push(self.message(depth + 1)?),
                "enum" => message.enums.push(self.enumeration()?),
                "oneof" => {
                    self.oneof(&mut message, oneofs)?;
                    oneofs += 1;
                }
                "option" | "reserved" | "extensions" | "extend" => self.lexer.skip_statement()?,
                "repeated" | "optional" | "required" => {
                    let kind = self.lexer.word()?;
                    let mut field = self.field(kind, &mut message)?;
                    field.repeated |= word == "repeated";
                    field.presence |= word != "repeated";
                    message.fields.push(field);
                }
                kind => {
                    let field = self.field(kind, &mut message)?;
                    message.fields.push(field);
                }
            }
        }
        Ok(message)
    }

    /// Behind `oneof`.
    fn oneof(&mut self, message: &mut MessageDef, oneof: u32) -> Result<(), FormatError> {
        self.lexer.word()?;
        self.lexer.expect('{')?;
        while !self.lexer.take('}')? {
            let Token::Word(kind) = self.lexer.next()? else {
                return Err(self.lexer.fault("expected a field"));
            };
            if kind == "option" {
                self.lexer.skip_statement()?;
                continue;
            }
            let field = self.field(kind, message)?;
            message.fields.push(FieldDef { presence: true, oneof: Some(oneof), ..field });
        }
        Ok(())
    }

    /// Behind the type of a field. A map adds the message of its entries.
    fn field(&mut self, kind: &str, message: &mut MessageDef) -> Result<FieldDef, FormatError> {
        let mut entry = None;
        if kind == "map" && self.lexer.take('<')? {
            let key = self.lexer.word()?;
            self.lexer.expect(',')?;
            let value = self.lexer.word()?;
            self.lexer.expect('>')?;
            entry = Some((key, value));
        }
        let name = self.lexer.word()?.to_owned();
        self.lexer.expect('=')?;
        let number = self.lexer.integer()?;
        let number = u32::try_from(number).ok().filter(|_| (1..=FIELD_NUMBER_MAX).contains(&number));
        let number = number.ok_or_else(|| self.lexer.fault("a field number is 1 to 536870911"))?;
        let presence = self.field_options()?.unwrap_or(self.presence);
        let field = FieldDef { name, number, presence, ..FieldDef::default() };
        if kind == "group" {
            self.lexer.skip_statement()?;
            return Ok(FieldDef { kind: FieldKind::Group, ..field });
        }
        self.lexer.expect(';')?;
        let Some((key, value)) = entry else { return Ok(FieldDef { kind: kind_of(kind), ..field }) };
        let part = |name: &str, number, kind| FieldDef {
            name: name.to_owned(),
            number,
            kind: kind_of(kind),
            ..FieldDef::default()
        };
        // No name that the text could use.
        let entry = format!("{}<>", field.name);
        message.messages.push(MessageDef {
            name: entry.clone(),
            fields: vec![part("key", 1, key), part("value", 2, value)],
            map_entry: true,
            ..MessageDef::default()
        });
        Ok(FieldDef { kind: FieldKind::Named(entry), repeated: true, ..field })
    }

    /// The options in brackets that may stand here; gives what they say of
    /// presence.
    fn field_options(&mut self) -> Result<Option<bool>, FormatError> {
        let mut presence = None;
        if !self.lexer.take('[')? {
            return Ok(None);
        }
        let mut depth = 1_u32;
        while depth > 0 {
            presence = self.presence_option()?.or(presence);
            match self.lexer.next()? {
                Token::Mark('[' | '{' | '(') => depth += 1,
                Token::Mark(']' | '}' | ')') => depth -= 1,
                Token::End => return Err(self.lexer.fault("expected ']'")),
                _ => {}
            }
        }
        Ok(presence)
    }

    /// Behind `enum`.
    fn enumeration(&mut self) -> Result<EnumDef, FormatError> {
        let mut found = EnumDef { name: self.lexer.word()?.to_owned(), ..EnumDef::default() };
        self.lexer.expect('{')?;
        while !self.lexer.take('}')? {
            match self.lexer.next()? {
                Token::Mark(';') => {}
                Token::Word("option" | "reserved") if self.lexer.peek() != Token::Mark('=') => {
                    self.lexer.skip_statement()?;
                }
                Token::Word(name) => {
                    self.lexer.expect('=')?;
                    let number = i32::try_from(self.lexer.integer()?)
                        .map_err(|_| self.lexer.fault("an enum's number has 32 bits"))?;
                    self.field_options()?;
                    self.lexer.expect(';')?;
                    found.values.push((name.to_owned(), number));
                }
                _ => return Err(self.lexer.fault("expected a value of the enum")),
            }
        }
        Ok(found)
    }
}

fn kind_of(name: &str) -> FieldKind {
    Scalar::by_name(name).map_or_else(|| FieldKind::Named(name.to_owned()), FieldKind::Scalar)
}
