//! `longwire check`: is the configuration right, and what does it come to?

use super::flags::SourceFlags;
use super::{Failure, configuration, note, say};

/// Prints it resolved, secrets masked.
pub fn run(flags: &SourceFlags) -> Result<(), Failure> {
    let mut sources = configuration::sources(flags);
    if sources.file.is_none() {
        // Only to show the rest: the key of a start without a file is another one each time.
        sources.development_secret = Some(super::serve::random_secret()?);
        note("longwire: no configuration file; this is what `longwire` alone would serve with");
    }
    let checked = configuration::load_or_fail(&sources)?;
    for warning in &checked.warnings {
        note(&format!("longwire: warning: {warning}"));
    }
    say(checked.loaded.settings.render_masked().trim_end())?;
    if let Some(file) = &sources.file {
        note(&format!("longwire: {} is right", file.display()));
    }
    Ok(())
}
