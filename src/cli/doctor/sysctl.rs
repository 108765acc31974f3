//! How a kernel setting is mended, and what is said of one that cannot be read. Used by the readers of kernel settings.

use super::report::{Amount, Row};

/// Sets it now and at every start; the file is read after the package's own (60-) and after `tune`'s (90-).
pub(super) fn set(key: &str, value: &str) -> String {
    format!("echo '{key} = {value}' | sudo tee -a /etc/sysctl.d/95-longwire.conf && sudo sysctl -w '{key}={value}'")
}

pub(super) fn unreadable(name: &'static str, key: &str, need: u64) -> Row {
    let file = key.replace('.', "/");
    Row::unknown(name, Amount::Count(need), format!("/proc/sys/{file} cannot be read"))
}
