//! Holds the walls between the rooms of `src/`: which room may use which other room and which crates, as
//! `ARCHITECTURE.md` says. Reads every path in the code, in `use` lines and elsewhere; test code may do as it likes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod paths;
mod walls;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use paths::{Used, read};
use walls::{FRONT_DOOR, Grant, INNER, OPEN, ROOMS};

fn is_or_is_below(path: &str, start: &str) -> bool {
    path.strip_prefix(start)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether a part of a room (its module path inside the room) is granted `path`.
fn granted(grants: &[Grant], part: &str, path: &str) -> bool {
    grants.iter().any(|grant| match *grant {
        Grant::Everywhere(what) => is_or_is_below(path, what),
        Grant::In(where_, what) => is_or_is_below(part, where_) && is_or_is_below(path, what),
    })
}

/// What is wrong with a file of that module path (`["shard", "auth"]`), one sentence each.
fn violations(module: &[&str], source: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let Some(room) = ROOMS.iter().find(|room| module.first() == Some(&room.name)) else {
        return vec![format!(
            "src/{} is in no room: give it one in tests/rooms",
            module.join("/")
        )];
    };
    let part = module[1..].join("::");
    let whole = module.join("::");
    let inner: Vec<_> = INNER
        .iter()
        .filter(|inner| is_or_is_below(&whole, inner.part))
        .collect();
    let mut wrong = Vec::new();
    for Used { line, path } in read(source, module).used {
        let text = path.join("::");
        let complaint = if let Some(inside) = text.strip_prefix("crate::") {
            let other = path[1].as_str();
            let open = other == room.name || OPEN.contains(&other) || granted(room.rooms, &part, inside);
            // Names that lie in the crate's root itself (`crate::VERSION`) belong to no room.
            let is_room = ROOMS.iter().any(|room| room.name == other);
            (is_room && !open).then(|| format!("{} may not use the room {other}", room.name))
        } else if room.never.iter().any(|never| is_or_is_below(&text, never)) {
            Some(format!("{} may never use it", room.name))
        } else if crates.contains(&path[0]) && room.crates.is_some_and(|grants| !granted(grants, &part, &text)) {
            Some(format!("{} may not use the crate {}", room.name, path[0]))
        } else {
            None
        };
        let behind = inner
            .iter()
            .find(|inner| inner.never.iter().any(|never| is_or_is_below(&text, never)));
        let complaint = complaint.or(behind.map(|inner| format!("{} may never use it", inner.part)));
        wrong.extend(complaint.map(|complaint| format!("line {line}: {text}: {complaint}")));
    }
    wrong
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all dependencies, as code spells them.
fn dependencies() -> BTreeSet<String> {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let table = manifest["dependencies"].as_table().unwrap();
    table.keys().map(|name| name.replace('-', "_")).collect()
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// `src/shard/auth/mod.rs` is `["shard", "auth"]`.
fn module_of(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut parts: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.len() > 1 && parts.last().unwrap() == "mod" {
        parts.pop();
    }
    parts
}

#[test]
fn no_room_reaches_through_a_wall() {
    let crates = dependencies();
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let sources: BTreeMap<Vec<String>, String> = files
        .iter()
        .map(|file| (module_of(file), std::fs::read_to_string(file).unwrap()))
        .collect();

    // Modules that are declared behind `#[cfg(test)]`, and everything below them.
    let mut of_tests: Vec<Vec<String>> = Vec::new();
    for (module, source) in &sources {
        let own: Vec<&str> = module.iter().map(String::as_str).collect();
        for name in read(source, &own).test_modules {
            let mut path = if matches!(own[..], ["lib" | "main"]) {
                Vec::new()
            } else {
                module.clone()
            };
            path.push(name);
            of_tests.push(path);
        }
    }

    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for (module, source) in &sources {
        if of_tests.iter().any(|test| module.starts_with(test)) {
            continue;
        }
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        looked_at += read(source, &module).used.len();
        let file = format!("src/{}", module.join("/"));
        wrong.extend(
            violations(&module, source, &crates)
                .into_iter()
                .map(|text| format!("{file}: {text}")),
        );
    }
    assert!(
        looked_at > 300,
        "only {looked_at} paths were found in src/: the reader is broken"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_wall_stands_somewhere_and_has_no_hole_that_nobody_needs() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let used: Vec<(Vec<String>, Vec<Used>)> = files
        .iter()
        .map(|file| {
            let module = module_of(file);
            let own: Vec<&str> = module.iter().map(String::as_str).collect();
            let used = read(&std::fs::read_to_string(file).unwrap(), &own).used;
            (module, used)
        })
        .collect();
    for room in ROOMS.iter().filter(|room| room.rooms != FRONT_DOOR) {
        let rooms = room.rooms.iter().map(|grant| (grant, "crate::"));
        let crates = room.crates.unwrap_or_default().iter().map(|grant| (grant, ""));
        for (grant, before) in rooms.chain(crates) {
            let (Grant::Everywhere(what) | Grant::In(_, what)) = grant;
            let what = format!("{before}{what}");
            let needed = used
                .iter()
                .filter(|(module, _)| module[0] == room.name)
                .any(|(_, used)| used.iter().any(|used| is_or_is_below(&used.path.join("::"), &what)));
            assert!(needed, "{} may use {what}, and nothing in it does", room.name);
        }
    }
    for inner in INNER {
        let is_there = used
            .iter()
            .any(|(module, _)| is_or_is_below(&module.join("::"), inner.part));
        assert!(is_there, "{} is nowhere", inner.part);
    }
}

#[track_caller]
fn check(module: &[&str], source: &str, wrong_lines: &[usize]) {
    let crates = [
        "mio",
        "socket2",
        "slab",
        "serde",
        "jsonwebtoken",
        "tokio",
        "axum",
        "crossbeam_channel",
        "toml",
    ];
    let crates = crates.iter().map(|&name| name.to_owned()).collect();
    let found = violations(module, source, &crates);
    let lines: BTreeSet<usize> = found
        .iter()
        .map(|text| {
            text.strip_prefix("line ")
                .unwrap()
                .split(':')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    assert_eq!(
        lines.into_iter().collect::<Vec<_>>(),
        wrong_lines,
        "{found:?}\nin\n{source}"
    );
}

#[test]
fn a_made_up_violation_is_found_wherever_it_hides() {
    check(
        &["protocol", "frame"],
        "use crate::shard::Key;\nuse crate::config::Settings;",
        &[1],
    );
    check(
        &["protocol", "frame"],
        "use std::{\n    fmt,\n    time::{Duration, Instant},\n};",
        &[3],
    );
    check(
        &["shard", "wheel"],
        "fn f() { let x = crate::reactor::Turn::new(); }",
        &[1],
    );
    check(
        &["shard", "wheel"],
        "fn f(x: &std::sync::Mutex<u8>) {}\nuse crate::{node, links::Sender};",
        &[1, 2],
    );
    check(
        &["shard", "gateway", "login"],
        "use crate::links::Notice;\nuse super::super::auth;",
        &[],
    );
    check(
        &["shard", "gateway"],
        "use super::super::control;\nfn f() { super::super::links::x(); }",
        &[1],
    );
    check(&["shard", "outbound"], "use jsonwebtoken::Algorithm;", &[1]);
    check(
        &["shard", "auth", "keys"],
        "use jsonwebtoken::Algorithm;\nuse ::tokio::spawn;\nuse mio;",
        &[2, 3],
    );
    check(
        &["reactor"],
        "use crate::control;\n#[derive(serde::Serialize)]\nstruct S;\nuse mio::Poll;",
        &[1, 2],
    );
    check(
        &["links", "channel"],
        "use mio::{Poll, Waker};\nimpl Wake for mio::Waker {}",
        &[1],
    );
    check(&["links"], "pub(in crate::links) use crate::node::Shared;", &[1]);
    check(
        &["control", "api"],
        "use crate::shard as s;\nuse crate::links::*;\nfn f() { mio::Poll::new(); }",
        &[1, 3],
    );
    check(
        &["shard", "engine", "input"],
        "use super::super::gateway::Gateway;\nuse crate::shard::outbound::Frame;",
        &[1],
    );
    check(
        &["control", "bus", "nats"],
        "use axum::Router;\nuse async_nats::Client;",
        &[1],
    );
    check(&["control", "sessions", "rule"], "use tokio::time::sleep;", &[1]);
    check(&["metrics", "counters"], "use crate::node::Shared;", &[1]);
    check(&["metrics", "render"], "use crate::node::Shared;", &[]);
    check(
        &["config"],
        "use crate::metrics::x;\nuse crate::protocol::subject;\nlet a = tokio::spawn;",
        &[2, 3],
    );
    check(
        &["main"],
        "fn main() { longwire::cli::run(); longwire::shard::x(); mio::Poll::new(); }",
        &[1],
    );
    assert_eq!(
        violations(&["attic"], "", &BTreeSet::new()).len(),
        1,
        "a new room needs its walls"
    );
}

#[test]
fn what_only_looks_like_a_violation_is_none() {
    check(
        &["protocol"],
        r####"
        //! See crate::shard::Key.
        /// use crate::reactor;
        /* use mio::Poll; /* nested */ use crate::control; */
        const A: &str = "use crate::shard;\" mio::Poll";
        const B: &str = r##"crate::shard::x"# mio::Poll"##;
        const C: (char, char, u8) = ('"', '\'', b'"');
        fn f<'a>(x: &'a str) -> &'a str { let mio = x; self.mio::<u8>(); x }
        #[cfg(test)]
        mod tests {
            use crate::shard::Key;
            fn g() { let t = std::time::Instant::now(); }
        }
        #[cfg(test)]
        use std::thread;
        #[cfg(all(test, unix))]
        #[allow(dead_code)]
        fn h() -> std::time::Instant { mio::x() }
        struct Mio { mio: u8 }
        "####,
        &[],
    );
    check(
        &["protocol"],
        "#[cfg(not(test))]\nuse crate::shard::Key;\n#[test]\nfn f() {}",
        &[2],
    );
    check(
        &["protocol"],
        "const A: &str = \"\";\nconst B: char = 'x';\nuse crate::shard::Key;",
        &[3],
    );
}
