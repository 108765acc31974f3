//! What packages carry beside the binary. Manual pages and completions are written from the flags and kept in the
//! repository, so that a package needs no build step of its own; here they are held to the flags. After a change of
//! `src/cli/flags.rs`:
//!
//! ```sh
//! WRITE=1 cargo test --test packaging manual
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod manual;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap_complete::{Shell, generate};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the flags come to, by path below `packaging/`.
fn written() -> BTreeMap<PathBuf, String> {
    let completions = [
        (Shell::Bash, "completions/longwire.bash"),
        (Shell::Zsh, "completions/_longwire"),
        (Shell::Fish, "completions/longwire.fish"),
    ];
    let completions = completions.into_iter().map(|(shell, path)| {
        let mut text = Vec::new();
        generate(shell, &mut longwire::cli::command(), "longwire", &mut text);
        (PathBuf::from(path), String::from_utf8(text).unwrap())
    });
    let pages = manual::pages()
        .into_iter()
        .map(|(name, text)| (Path::new("man").join(name), text));
    completions.chain(pages).collect()
}

#[test]
fn manual_pages_and_completions_are_what_the_flags_say() {
    let (packaging, wanted) = (root().join("packaging"), written());
    if env::var_os("WRITE").is_some() {
        for (path, text) in &wanted {
            fs::write(packaging.join(path), text).unwrap();
        }
    }
    for (path, text) in &wanted {
        let there = fs::read_to_string(packaging.join(path)).unwrap_or_default();
        assert!(
            there == *text,
            "packaging/{} is old: WRITE=1 cargo test --test packaging manual",
            path.display()
        );
    }
    for folder in ["man", "completions"] {
        for entry in fs::read_dir(packaging.join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            assert!(
                wanted.contains_key(&path),
                "packaging/{} is of no command any more",
                path.display()
            );
        }
    }
}

/// Source and destination of every asset, `*` resolved.
fn assets() -> Vec<(String, String)> {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let mut assets = Vec::new();
    for asset in deb["assets"].as_array().unwrap() {
        let (source, to) = (asset[0].as_str().unwrap(), asset[1].as_str().unwrap());
        let (folder, pattern) = source.rsplit_once('/').unwrap();
        let names = match pattern.split_once('*') {
            None => vec![pattern.to_owned()],
            Some((start, end)) => {
                let entries = fs::read_dir(root().join(folder)).unwrap();
                let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                names
                    .filter(|name| name.starts_with(start) && name.ends_with(end))
                    .collect()
            }
        };
        assert!(!names.is_empty(), "no file is {source}");
        for name in names {
            let to = if to.ends_with('/') {
                format!("{to}{name}")
            } else {
                to.to_owned()
            };
            assets.push((format!("{folder}/{name}"), to));
        }
    }
    assets
}

#[test]
fn every_file_of_the_package_is_there() {
    let assets = assets();
    for (source, _) in assets.iter().filter(|(source, _)| !source.starts_with("target/")) {
        assert!(root().join(source).is_file(), "{source}");
    }
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    for file in manifest["package"]["metadata"]["deb"]["conf-files"].as_array().unwrap() {
        let file = file.as_str().unwrap().trim_start_matches('/');
        assert!(
            assets.iter().any(|(_, to)| to == file),
            "{file} is a conffile, but not in the package"
        );
    }
}

/// `make install` into a directory puts the files where the package has them.
#[test]
fn make_installs_what_the_package_holds() {
    let stage = env::temp_dir().join(format!("longwire-stage-{}", std::process::id()));
    let make = |target: &str| {
        let status = std::process::Command::new("make")
            .args(["-s", "-C"])
            .arg(root())
            .args([target, "PREFIX=/usr", "zshdir=/usr/share/zsh/vendor-completions"])
            .arg(format!("DESTDIR={}", stage.display()))
            .arg(format!("BINARY={}", env!("CARGO_BIN_EXE_longwire")))
            .stdout(std::process::Stdio::null())
            .status()
            .expect("make is there");
        assert!(status.success(), "make {target}");
    };
    make("install");
    let missing: Vec<String> = assets()
        .into_iter()
        .map(|(_, to)| to)
        .filter(|to| !stage.join(to).is_file())
        .collect();
    // What an operator has changed stays: at the next install, and when longwire goes.
    let config = stage.join("etc/longwire/longwire.toml");
    fs::write(&config, "# mine").unwrap();
    make("install");
    make("uninstall");
    let kept = fs::read_to_string(&config).unwrap();
    let mut left = Vec::new();
    files(&stage, &mut left);
    fs::remove_dir_all(&stage).unwrap();
    assert_eq!(missing, Vec::<String>::new());
    assert_eq!(kept, "# mine");
    let left: Vec<_> = left.iter().map(|file| file.strip_prefix(&stage).unwrap()).collect();
    assert_eq!(
        left,
        [
            Path::new("etc/default/longwire"),
            Path::new("etc/longwire/longwire.toml")
        ]
    );
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}
