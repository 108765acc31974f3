//! Reads the keys of one table: each as the kind it has to be, within its bounds, or its default and a problem in the
//! report. Knows kinds and places, never what a key is for. Called by `resolve` and `auth`.

use std::path::{Path, PathBuf};

use super::error::{Place, Report};
use super::tree::{Node, Table, Value};
use super::units;

/// How named files are read; the whole of a file, or why not.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>;

/// The least and the most that a number may be, and what would come of less.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    least: u64,
    most: u64,
    too_little: &'static str,
}

impl Bounds {
    /// From 0.
    pub(super) const fn up_to(most: u64) -> Bounds {
        Bounds {
            least: 0,
            most,
            too_little: "",
        }
    }

    /// `too_little` completes "N is too little: …".
    pub(super) const fn between(least: u64, most: u64, too_little: &'static str) -> Bounds {
        Bounds {
            least,
            most,
            too_little,
        }
    }
}

/// One table under its name in messages (`auth`, `auth.keys[0]`). One that is not there has no keys.
pub(super) struct Section<'t, 'r> {
    pub name: String,
    table: Option<&'t Table>,
    pub report: &'r mut Report,
    /// Where relative paths of the config file begin.
    base: Option<&'r Path>,
}

impl<'t, 'r> Section<'t, 'r> {
    pub(super) fn new(name: &str, table: Option<&'t Table>, base: Option<&'r Path>, report: &'r mut Report) -> Self {
        Section {
            name: name.to_owned(),
            table,
            report,
            base,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Node> {
        self.table?.entries.get(key)
    }

    /// Where `key` was written.
    pub(super) fn place(&self, key: &str) -> Option<&'t Place> {
        self.get(key).map(|node| &node.place)
    }

    /// Whether `key` is there and not the empty string, which stands for "none". One of the wrong kind is given: what
    /// is wrong with it is said when it is read.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|node| !matches!(&node.value, Value::String(text) if text.is_empty()))
    }

    /// A problem with what stands at `key`.
    pub(super) fn wrong(&mut self, key: &str, message: impl std::fmt::Display) {
        let place = self.place(key).unwrap_or(&Place::Whole);
        self.problem(place, key, message);
    }

    /// A problem with what stands at `place`, about `key`.
    pub(super) fn problem(&mut self, place: &Place, key: &str, message: impl std::fmt::Display) {
        let name = &self.name;
        self.report.add(place, &format!("{name}.{key}"), message);
    }

    /// A text; `None` where it is not given or of another kind. Never repeated in a problem: it may be a secret.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let node = self.get(key)?;
        let text = text_of(node);
        if text.is_none() {
            self.wrong(key, format!("must be a string in quotes, but is {}", node.value.kind()));
        }
        text.map(str::to_owned)
    }

    /// A text that is given and not empty.
    pub(super) fn text_or_none(&mut self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    /// A text of a certain form; `None` where it is not given or wrong.
    pub(super) fn parsed<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let node = self.get(key)?;
        let Some(text) = text_of(node) else {
            // Perhaps parsing has the better advice: 9040 is no address, but it knows which one was meant.
            let advice = match &node.value {
                Value::Integer(Some(number)) => parse(&number.to_string()).err(),
                _ => None,
            };
            let advice = advice.unwrap_or_else(|| format!("must be a string in quotes, but is {}", node.value.kind()));
            self.problem(&node.place, key, advice);
            return None;
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(&node.place, key, message);
                None
            }
        }
    }

    /// A list of texts of a certain form, each with its place; one text is a list of one. `None` where it is not given.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<(T, &'t Place)>> {
        let node = self.get(key)?;
        let items = match &node.value {
            Value::Array(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            let value = match text_of(item) {
                Some("") => Err("has an empty string in it; an empty list is written []".into()),
                Some(text) => parse(text),
                None => {
                    let kind = item.value.kind();
                    Err(format!(
                        "must be a list of strings in quotes, but there is {kind} in it"
                    ))
                }
            };
            match value {
                Ok(value) => values.push((value, &item.place)),
                Err(message) => self.problem(&item.place, key, message),
            }
        }
        Some(values)
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        let Some(node) = self.get(key) else { return default };
        if let Value::Boolean(value) = node.value {
            return value;
        }
        self.problem(
            &node.place,
            key,
            format!("must be true or false, without quotes, but is {}", node.value.kind()),
        );
        default
    }

    /// A whole number.
    pub(super) fn number(&mut self, key: &str, default: u64, bounds: Bounds) -> u64 {
        let Some(node) = self.get(key) else { return default };
        let value = match &node.value {
            Value::Integer(value) => Ok(*value),
            other => Err(format!(
                "must be a whole number without quotes, but is {}",
                other.kind()
            )),
        };
        self.within(node, key, value, bounds, u64::to_string).unwrap_or(default)
    }

    /// A size in bytes; `None` where it is not given or wrong.
    pub(super) fn bytes(&mut self, key: &str, bounds: Bounds) -> Option<u64> {
        let node = self.get(key)?;
        let value = match &node.value {
            Value::Integer(value) => Ok(*value),
            Value::String(text) => units::parse_bytes(text).map(|bytes| i64::try_from(bytes).ok()),
            other => Err(format!(
                "must be a number of bytes or a string such as \"64KiB\", but is {}",
                other.kind()
            )),
        };
        self.within(node, key, value, bounds, |bytes| units::format_bytes(*bytes))
    }

    /// A duration in milliseconds.
    pub(super) fn duration_ms(&mut self, key: &str, default: u64, bounds: Bounds) -> u64 {
        let Some(node) = self.get(key) else { return default };
        let value = match &node.value {
            Value::String(text) => units::parse_duration_ms(text).map(|duration| i64::try_from(duration).ok()),
            Value::Integer(Some(number)) => Err(format!(
                "{number} has no unit; write \"{number}s\" for seconds, or ms, m, h in place of the s"
            )),
            other => Err(format!("must be a duration such as \"25s\", but is {}", other.kind())),
        };
        self.within(node, key, value, bounds, |ms| units::format_duration_ms(*ms))
            .unwrap_or(default)
    }

    /// `value` where it is within `bounds`; an inner `None` is a number of more than 64 bits.
    fn within(
        &mut self,
        node: &Node,
        key: &str,
        value: Result<Option<i64>, String>,
        bounds: Bounds,
        show: impl Fn(&u64) -> String,
    ) -> Option<u64> {
        let (least, most) = (show(&bounds.least), show(&bounds.most));
        let message = match value {
            Err(message) => message,
            Ok(value) => match value.map(u64::try_from) {
                Some(Ok(number)) if (bounds.least..=bounds.most).contains(&number) => return Some(number),
                Some(Ok(number)) if number < bounds.least => {
                    format!(
                        "{} is too little: {}; write {least} to {most}",
                        show(&number),
                        bounds.too_little
                    )
                }
                Some(Err(_)) => format!("cannot be negative; write {least} to {most}"),
                Some(Ok(_)) | None => format!("is too much; write {least} to {most}"),
            },
        };
        self.problem(&node.place, key, message);
        None
    }

    /// The path in `key`, absolute: one in the file counts from the file's directory, one in a flag or variable from
    /// the working directory. `None` where it is not given or empty.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text_or_none(key)?);
        let in_file = matches!(self.place(key), Some(Place::Line(_)));
        let path = match self.base.filter(|_| in_file) {
            Some(base) => base.join(path),
            None => path,
        };
        Some(std::path::absolute(&path).unwrap_or(path))
    }

    /// The path in `key` and the contents of the file there; a file that cannot be read is a problem.
    pub(super) fn file(&mut self, key: &str, read: ReadFile<'_>) -> Option<(PathBuf, Vec<u8>)> {
        let place = self.place(key)?;
        let path = self.path(key)?;
        match read(&path) {
            Ok(contents) => Some((path, contents)),
            Err(error) => {
                let advice = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => "; let the user that longwire runs as read it",
                    std::io::ErrorKind::NotFound => "; correct the path, or put the file there",
                    _ => "",
                };
                self.problem(place, key, format!("cannot read {}: {error}{advice}", path.display()));
                None
            }
        }
    }
}

/// The node as text: a string, or an override that only looks like something else.
fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::String(text) => Some(text),
        Value::Array(_) | Value::Table(_) => None,
        _ => node.bare.as_deref(),
    }
}

/// The values of a list without their places.
pub(super) fn values_of<T>(items: Vec<(T, &Place)>) -> Vec<T> {
    items.into_iter().map(|(value, _)| value).collect()
}
