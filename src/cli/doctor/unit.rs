//! systemd's files as systemd reads them: a unit with its drop-ins, and the manager's own defaults. Only what the doctor
//! asks for: single-valued settings of one section, of which the last one counts. Called by `service` and `nginx`.
//!
//! The rules are those of systemd.unit(5): the first directory that has the unit wins; drop-ins of all directories are
//! merged by file name, where an earlier directory masks a later one; a file that is empty or leads to /dev/null masks.

use std::collections::BTreeMap;

use super::root::Root;

/// Where units are looked for, the strongest first.
const UNIT_DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Where the manager's configuration is looked for, the strongest first.
const MANAGER_DIRECTORIES: [&str; 4] = [
    "/etc/systemd",
    "/run/systemd",
    "/usr/local/lib/systemd",
    "/usr/lib/systemd",
];
/// What systemd gives a service that says nothing, since version 240 (systemd-system.conf(5)).
const DEFAULT_DESCRIPTORS: Limit = Limit {
    soft: 1_024,
    hard: 524_288,
};

/// A resource limit; `u64::MAX`: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub soft: u64,
    pub hard: u64,
}

/// Settings of one section, each with the file that it is from, in the order in which they take effect.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// The unit's own file.
    pub file: String,
    settings: Vec<Setting>,
}

#[derive(Debug)]
struct Setting {
    key: String,
    value: String,
    file: String,
}

impl Unit {
    /// The value that counts, and the file that it is from. A value that was taken back (`Key=`) is none.
    pub fn get(&self, key: &str) -> Option<(&str, &str)> {
        let setting = self.settings.iter().rev().find(|setting| setting.key == key)?;
        (!setting.value.is_empty()).then_some((&*setting.value, &*setting.file))
    }

    /// The limit of open descriptors of this unit, and what it is from.
    pub fn descriptors(&self, root: &Root) -> (Limit, String) {
        let own = self.get("LimitNOFILE").and_then(|(value, file)| {
            let limit = parse_limit(value)?;
            Some((limit, format!("LimitNOFILE in {file}")))
        });
        own.unwrap_or_else(|| default_descriptors(root))
    }
}

/// What systemd gives a service that has no `LimitNOFILE`.
fn default_descriptors(root: &Root) -> (Limit, String) {
    let manager = read(root, &MANAGER_DIRECTORIES, "system.conf", &["system.conf.d"], "Manager").unwrap_or_default();
    let own = manager.get("DefaultLimitNOFILE").and_then(|(value, file)| {
        let limit = parse_limit(value)?;
        Some((limit, format!("DefaultLimitNOFILE in {file}")))
    });
    own.unwrap_or((DEFAULT_DESCRIPTORS, "systemd's default".into()))
}

/// The `[Service]` section of a unit; `None` where there is no such unit, or it is masked.
pub(super) fn service(root: &Root, name: &str) -> Option<Unit> {
    let drop_ins = format!("{name}.d");
    read(root, &UNIT_DIRECTORIES, name, &["service.d", &drop_ins], "Service")
}

fn read(root: &Root, directories: &[&str], name: &str, drop_ins: &[&str], section: &str) -> Option<Unit> {
    let main = directories.iter().map(|directory| format!("{directory}/{name}"));
    let file = main.into_iter().find(|file| root.exists(file));
    let mut unit = Unit::default();
    if let Some(file) = file {
        let text = root.text(&file)?;
        if text.trim().is_empty() {
            return None;
        }
        unit.take(&text, section, &file);
        unit.file = file;
    } else if section == "Service" {
        return None;
    }
    for kind in drop_ins {
        let mut files = BTreeMap::new();
        for directory in directories {
            let directory = format!("{directory}/{kind}");
            for name in root.names(&directory) {
                if name.ends_with(".conf") {
                    let file = format!("{directory}/{name}");
                    files.entry(name).or_insert(file);
                }
            }
        }
        for file in files.into_values() {
            if let Some(text) = root.text(&file) {
                unit.take(&text, section, &file);
            }
        }
    }
    Some(unit)
}

impl Unit {
    fn take(&mut self, text: &str, wanted: &str, file: &str) {
        let mut section = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let mut line = line.to_owned();
            while line.ends_with('\\') {
                line.pop();
                match lines.next() {
                    // Comments may stand between the lines of one value.
                    Some(next) if next.trim_start().starts_with(['#', ';']) => line.push('\\'),
                    Some(next) => {
                        line.push(' ');
                        line.push_str(next.trim());
                    }
                    None => break,
                }
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if section == wanted
                && let Some((key, value)) = line.split_once('=')
            {
                self.settings.push(Setting {
                    key: key.trim().to_owned(),
                    value: value.trim().to_owned(),
                    file: file.to_owned(),
                });
            }
        }
    }
}

/// `N`, `SOFT:HARD`, either may be `infinity` (systemd.exec(5), "Process Properties").
fn parse_limit(text: &str) -> Option<Limit> {
    let one = |text: &str| match text.trim() {
        "infinity" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    match text.split_once(':') {
        Some((soft, hard)) => Some(Limit {
            soft: one(soft)?,
            hard: one(hard)?,
        }),
        None => one(text).map(|limit| Limit {
            soft: limit,
            hard: limit,
        }),
    }
}

/// A size as in `MemoryMax`: bytes, or with `K`, `M`, `G`, `T`, or a part of `total_bytes` in percent (or permille `‰`).
/// `infinity` is `None`, and so is what is none of these.
pub(super) fn parse_size(text: &str, total_bytes: Option<u64>) -> Option<u64> {
    let text = text.trim();
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().ok()?;
        return Some((total_bytes? as f64 * percent / 100.0) as u64);
    }
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_are_read_as_systemd_reads_them() {
        let limit = |soft, hard| Some(Limit { soft, hard });
        for (text, expected) in [
            ("4096", limit(4096, 4096)),
            ("1024:524288", limit(1024, 524_288)),
            ("infinity", limit(u64::MAX, u64::MAX)),
            ("many", None),
            ("-1", None),
            ("", None),
            ("1:", None),
        ] {
            assert_eq!(parse_limit(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_systemd_reads_them() {
        let total = Some(1000);
        for (text, expected) in [
            ("512", Some(512)),
            ("2K", Some(2048)),
            ("1 G", Some(1 << 30)),
            ("50%", Some(500)),
            ("infinity", None),
            ("99999999999T", None),
            ("lots", None),
            ("ü", None),
        ] {
            assert_eq!(parse_size(text, total), expected, "{text}");
        }
        assert_eq!(parse_size("50%", None), None);
    }

    #[test]
    fn the_last_value_of_the_section_counts() {
        let mut unit = Unit::default();
        unit.take("[Service]\nA=1\n A = 2 \n[Install]\nA=3\n# A=4\n", "Service", "f");
        assert_eq!(unit.get("A"), Some(("2", "f")));
        unit.take("[Service]\nB=one \\\n# between\n two\nA=\n", "Service", "g");
        assert_eq!((unit.get("A"), unit.get("B")), (None, Some(("one  two", "g"))));
        unit.take("[Service]\nC=1 \\", "Service", "h");
        assert_eq!(unit.get("C").unwrap().0, "1");
        assert!(unit.get("D").is_none());
    }
}
