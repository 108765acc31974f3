//! The file of a run. Owns how it is written (whole or not at all) and what is refused when read. Never mends a file.
//! Called at the end of a run, and by `compare` and `report`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::FORMAT;
use crate::result::Run;

/// The one field that every format has.
#[derive(Deserialize)]
struct Head {
    format: Option<u32>,
}

/// The text of the file. The format is this program's, whatever `run` says. A figure that is no number (0 divided by 0:
/// nothing was measured) is left out, for JSON has no word for it.
pub fn to_text(run: &Run) -> Result<String, String> {
    let mut run = run.clone();
    run.format = FORMAT;
    run.figures.retain(|_, value| value.is_finite());
    for sample in &mut run.samples {
        sample.server_cpu_cores = sample.server_cpu_cores.filter(|cores| cores.is_finite());
        if !sample.load_cpu_cores.is_finite() {
            sample.load_cpu_cores = 0.0;
        }
    }
    let mut text = serde_json::to_string_pretty(&run).map_err(|error| format!("the run cannot be written: {error}"))?;
    text.push('\n');
    Ok(text)
}

/// A run from the text of a file; `name` says which in what is refused.
pub fn from_text(text: &str, name: &str) -> Result<Run, String> {
    let head: Head = serde_json::from_str(text)
        .map_err(|error| format!("{name} is not a run's JSON file ({error}): give one that longwire-load wrote"))?;
    match head.format {
        Some(FORMAT) => {}
        Some(other) => {
            return Err(format!(
                "{name} has format {other}, and this longwire-load reads format {FORMAT}: read it with the version that \
                 wrote it, or run the scenario again and compare the new files"
            ));
        }
        None => {
            return Err(format!(
                "{name} says no format, so it is no run's file: give one that longwire-load wrote"
            ));
        }
    }
    serde_json::from_str(text)
        .map_err(|error| format!("{name} is damaged ({error}): run the scenario again to have a whole one"))
}

/// Whether a file can be written there; leaves nothing.
pub fn can_write(path: &Path) -> Result<(), String> {
    let beside = beside(path);
    let tried = fs::File::create(&beside).and_then(|_| fs::remove_file(&beside));
    tried.map_err(|error| unwritable(path, &error))?;
    if path.is_dir() {
        return Err(unwritable(
            path,
            &std::io::Error::from(std::io::ErrorKind::IsADirectory),
        ));
    }
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    beside.into()
}

fn unwritable(path: &Path, error: &std::io::Error) -> String {
    format!(
        "{} cannot be written ({error}): give a path in a directory that you may write to",
        path.display()
    )
}

/// Writes the file beside its place and moves it there, so that nobody reads half of it.
pub fn write(path: &Path, run: &Run) -> Result<(), String> {
    write_text(path, &to_text(run)?)
}

/// Writes any text the same way: for the HTML page.
pub fn write_text(path: &Path, text: &str) -> Result<(), String> {
    let beside = &beside(path);
    let put = || -> std::io::Result<()> {
        let mut file = fs::File::create(beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, path)
    };
    put().map_err(|error| {
        let _ = fs::remove_file(beside);
        unwritable(path, &error)
    })
}

/// Reads the file of a run.
pub fn read(path: &Path) -> Result<Run, String> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| format!("{name} cannot be read ({error}): give the JSON file that a run wrote"))?;
    from_text(&text, &name)
}
