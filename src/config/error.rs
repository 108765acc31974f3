//! What is wrong with a configuration: problems, each with the line, flag or variable at fault, shown one a line.
//! Never shows a secret. Made by the other files of this room; shown by `cli` and, on SIGHUP, logged by `control`.

use std::fmt;
use std::path::Path;

/// One thing that is wrong. `Display`: `FILE:LINE: key: what is wrong; what to do`, with the flag or the variable in
/// place of `FILE:LINE` where it is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    line: Option<usize>,
    text: String,
}

impl Problem {
    /// The line of the config file, from 1; `None` where a flag, a variable or the file as a whole is at fault.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Everything that is wrong with a configuration; `Display` writes one problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The problems, at least one: first those of the file in its order, then those of variables and flags.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A line of the config file, from 1.
    Line(usize),
    /// `--set` with this key.
    Flag(String),
    /// An environment variable of this name.
    Variable(String),
    /// Nowhere in particular: the file as a whole, or no file at all.
    Whole,
}

impl Place {
    /// How `table.key` is written in a place of this kind.
    pub(super) fn spell(&self, table: &str, key: &str) -> String {
        match self {
            Place::Variable(_) => format!("LONGWIRE_{}__{}", table.to_uppercase(), key.to_uppercase()),
            Place::Flag(_) => format!("--set {table}.{key}=…"),
            Place::Line(_) | Place::Whole => format!("{key} in [{table}]"),
        }
    }
}

/// Collects problems while a configuration is read, so that they are reported together.
#[derive(Debug, Default)]
pub(super) struct Report {
    file: Option<String>,
    problems: Vec<Problem>,
}

impl Report {
    pub(super) fn new(file: Option<&Path>) -> Report {
        Report {
            file: file.map(|path| path.display().to_string()),
            problems: Vec::new(),
        }
    }

    /// `key` may be empty where the message names what it is about.
    pub(super) fn add(&mut self, place: &Place, key: &str, message: impl fmt::Display) {
        let file = self.file.as_deref().unwrap_or("config");
        let mut text = match place {
            Place::Line(line) => format!("{file}:{line}: "),
            Place::Flag(set) => format!("--set {set}: "),
            Place::Variable(name) => format!("{name}: "),
            Place::Whole => self.file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default(),
        };
        let named_already = matches!(place, Place::Flag(set) if set == key);
        if !key.is_empty() && !named_already {
            text += &format!("{key}: ");
        }
        text += &message.to_string();
        let line = if let Place::Line(line) = place {
            Some(*line)
        } else {
            None
        };
        self.problems.push(Problem { line, text });
    }

    /// `value`, unless something was wrong.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        Err(self.take_error())
    }

    /// What was collected so far, as an error.
    pub(super) fn take_error(&mut self) -> ConfigError {
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        ConfigError { problems }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }
}
