//! Showing the configuration, in a form that is a configuration file again.

use std::fmt::Write;

use crate::load::{Settings, Source};
use crate::options::Shape;

/// Width of the comments, in characters.
const WIDTH: usize = 100;

impl Settings {
    /// Every option with its meaning, default, other names and source, as a
    /// TOML file that gives the same configuration.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for setting in &self.settings {
            let option = setting.option;
            let default = literal(option.shape, option.default);
            let names = format!("Default {default}; --{} or {}.", option.flag(), option.variable());
            comment(&mut out, option.meaning);
            comment(&mut out, &names);
            let from = match &setting.source {
                Source::Default => String::new(),
                source => format!("  # from {source}"),
            };
            let value = literal(option.shape, &setting.text);
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{} = {value}{from}\n", option.name);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

/// A value as TOML. All of these were checked against their shape.
fn literal(shape: Shape, text: &str) -> String {
    match shape {
        Shape::Switch => text.to_owned(),
        Shape::Count => text.replace('_', ""),
        _ => quoted(text),
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

/// Appends a comment, broken between words.
fn comment(out: &mut String, text: &str) {
    let mut width = WIDTH;
    for word in text.split(' ') {
        if width + 1 + word.len() > WIDTH {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            out.push('#');
            width = 1;
        }
        out.push(' ');
        out.push_str(word);
        width += 1 + word.len();
    }
    out.push('\n');
}
