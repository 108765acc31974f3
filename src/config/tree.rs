//! The configuration as a tree of values, each with the place it was written: a file's text and, laid over it, what
//! the environment and `--set` say. Knows TOML and places, never which keys exist. Called by `load`.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Report};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
    /// The text of an override that is a number, a date or `true` to TOML: where text is wanted (a password, a node's
    /// name) it is meant as it stands.
    pub bare: Option<String>,
}

/// A TOML value; of floats and dates, which no key wants, only that they are.
#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    /// `None`: too large for 64 bits.
    Integer(Option<i64>),
    Boolean(bool),
    Float,
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

impl Value {
    /// With its article, for "is …, but …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::Float => "a fraction",
            Value::Datetime => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// A TOML table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub entries: BTreeMap<String, Node>,
}

/// Parses a config file's text. Syntax errors go to `report`, and what is left is of no use then.
pub(super) fn parse(text: &str, report: &mut Report) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    // One mistake often makes several errors on its line, of which the first says it best.
    let mut last_line = 0;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let line = lines.at(span.start);
        if line != last_line {
            report.add(
                &Place::Line(line),
                "",
                syntax_error(error.message(), text.get(span).unwrap_or("")),
            );
        }
        last_line = line;
    }
    convert_table(table.into_inner(), &|at| Place::Line(lines.at(at)))
}

/// Puts the environment's `LONGWIRE_TABLE__KEY` variables over `root`. Names without `__` are not the config's
/// (`LONGWIRE_KEY` is the API key of the command line).
pub(super) fn apply_environment(root: &mut Table, environment: &[(String, String)]) {
    for (name, text) in environment {
        let Some((table, key)) = name.strip_prefix("LONGWIRE_").and_then(|rest| rest.split_once("__")) else {
            continue;
        };
        put(
            root,
            &table.to_lowercase(),
            &key.to_lowercase(),
            text,
            &Place::Variable(name.clone()),
        );
    }
}

/// Puts `--set table.key=value` flags over `root`; the last of several for one key wins.
pub(super) fn apply_flags(root: &mut Table, flags: &[String], report: &mut Report) {
    for flag in flags {
        let Some((path, text)) = flag.split_once('=') else {
            // What is no assignment may be a secret that went astray, so it is not repeated.
            report.add(
                &Place::Flag("…".into()),
                "",
                "has no '='; write --set table.key=value, such as --set auth.leeway=0s",
            );
            continue;
        };
        let path = path.trim();
        let place = Place::Flag(path.to_owned());
        match path.split_once('.') {
            Some((table, key)) if !table.is_empty() && !key.is_empty() => put(root, table, key, text, &place),
            _ => report.add(
                &place,
                "",
                "names no key; write --set table.key=value, such as --set auth.leeway=0s",
            ),
        }
    }
}

fn put(root: &mut Table, table: &str, key: &str, text: &str, place: &Place) {
    let parent = root.entries.entry(table.to_owned()).or_insert_with(|| Node {
        place: place.clone(),
        value: Value::Table(Table::default()),
        bare: None,
    });
    // Where the file says that it is no table, that is reported already.
    if let Value::Table(parent) = &mut parent.value {
        parent.entries.insert(key.to_owned(), override_value(text, place));
    }
}

/// An override's value is TOML; what is no TOML is a string.
fn override_value(text: &str, place: &Place) -> Node {
    let Ok(value) = DeValue::parse(text.trim()) else {
        return Node {
            place: place.clone(),
            value: Value::String(text.to_owned()),
            bare: None,
        };
    };
    let mut node = convert(value, &|_| place.clone());
    node.bare = Some(text.to_owned());
    node
}

fn convert(value: Spanned<DeValue<'_>>, place_at: &dyn Fn(usize) -> Place) -> Node {
    let place = place_at(value.span().start);
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(integer) => Value::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).ok()),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(array) => Value::Array(array.into_iter().map(|item| convert(item, place_at)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(table, place_at)),
    };
    Node {
        place,
        value,
        bare: None,
    }
}

fn convert_table(table: DeTable<'_>, place_at: &dyn Fn(usize) -> Place) -> Table {
    let entries = table
        .into_iter()
        .map(|(key, value)| (key.into_inner().into_owned(), convert(value, place_at)));
    Table {
        entries: entries.collect(),
    }
}

/// TOML's own message, or plainer words for the slips that are made most. Never the text at fault, which may be a
/// secret, unless it is the name of a key.
fn syntax_error(message: &str, at_fault: &str) -> String {
    if message.starts_with("duplicate key") {
        return format!(
            "{} is written twice; keep one (tables that repeat, such as keys, are written [[auth.keys]])",
            at_fault.trim()
        );
    }
    if message.starts_with("string values must be quoted") {
        return match at_fault.trim() {
            "" => "a value is missing after the =".into(),
            _ => "a text stands without quotes; write it in quotes, such as \"25s\"".into(),
        };
    }
    format!("not valid TOML: {message}")
}

/// Finds the line of a byte.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Lines {
        let after_newlines = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1);
        Lines {
            starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    /// From 1.
    fn at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }
}
