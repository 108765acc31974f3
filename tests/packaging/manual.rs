//! The manual pages: `longwire(1)` with what clap knows and what a service's page says beside it, and a page for each
//! command, from clap alone.

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// File name and text of each.
pub fn pages() -> Vec<(String, String)> {
    let mut longwire = longwire::cli::command().disable_help_subcommand(true);
    longwire.build();
    let commands: Vec<_> = longwire
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .cloned()
        .collect();
    let names: Vec<String> = commands.iter().map(|c| format!("longwire-{}", c.get_name())).collect();
    let mut pages = vec![("longwire.1".to_owned(), main_page(longwire, &names))];
    for (command, name) in commands.into_iter().zip(names) {
        let page = page(command.display_name(name.clone()), &name, &[]);
        pages.push((format!("{name}.1"), page));
    }
    pages
}

/// What clap knows, the examples as they stand in the help, then the sections of `more`.
fn page(command: clap::Command, name: &str, more: &[Roff]) -> String {
    let mut examples = Roff::new();
    if let Some(text) = command.get_after_help() {
        examples.control("SH", ["EXAMPLES"]);
        // As it is: with its own line ends.
        examples.control("nf", []);
        for line in text.to_string().lines().filter(|line| !line.starts_with("Example")) {
            examples.text([roman(line)]);
        }
        examples.control("fi", []);
    }
    let mut page = Vec::new();
    let source = format!("longwire {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(name.to_uppercase()).source(source);
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page).unwrap();
    }
    for section in std::iter::once(&examples).chain(more) {
        section.to_writer(&mut page).unwrap();
    }
    String::from_utf8(page).unwrap()
}

fn main_page(command: clap::Command, commands: &[String]) -> String {
    let mut more = Roff::new();
    definitions(
        &mut more,
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT",
                "Drain: take nobody new, close the connections spread over timeouts.drain, exit. A second one exits at once.",
            ),
            (
                "SIGHUP",
                "Read the configuration and its key files again. What is wrong is refused as a whole, and logged.",
            ),
        ],
    );
    definitions(
        &mut more,
        "EXIT STATUS",
        &[
            ("0", "It was done; of serve: drained."),
            ("1", "It went wrong; of serve also: told to stop a second time."),
            ("2", "The command line or the configuration is wrong."),
            ("101", "A bug: a thread panicked, and the process with it."),
        ],
    );
    definitions(
        &mut more,
        "ENVIRONMENT",
        &[
            (
                "LONGWIRE_TABLE__KEY",
                "Sets a key of the configuration, over the file: LONGWIRE_LOG__LEVEL=debug.",
            ),
            ("LONGWIRE_KEY", "The key for the HTTP API."),
            (
                "NOTIFY_SOCKET, WATCHDOG_USEC",
                "What systemd wants to be told, see sd_notify(3).",
            ),
            (
                "LISTEN_FDS, LISTEN_PID",
                "Listening sockets passed by systemd, see sd_listen_fds(3): used for the addresses of server.listen and api.listen.",
            ),
        ],
    );
    definitions(
        &mut more,
        "FILES",
        &[
            (
                "/etc/longwire/longwire.toml",
                "The configuration, with every key, its default and what it is for.",
            ),
            ("/etc/default/longwire", "Variables of the service (Debian)."),
            (
                "/usr/lib/systemd/system/longwire.service, longwire.socket",
                "The service, and its port for the time of a restart.",
            ),
            (
                "/usr/lib/sysctl.d/60-longwire.conf",
                "Kernel settings for many connections.",
            ),
            (
                "/usr/share/doc/longwire/",
                "Protocol, HTTP API, NATS, configuration, installation; examples.",
            ),
        ],
    );
    more.control("SH", ["SEE ALSO"]);
    let commands = commands.iter().map(|name| format!("{name}(1)"));
    let all: Vec<String> = commands
        .chain(["systemctl(1)".into(), "journalctl(1)".into(), "nats-server(8)".into()])
        .collect();
    more.text([roman(all.join(", "))]);
    page(command, "longwire", &[more])
}

fn definitions(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, meaning) in entries {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*meaning)]);
    }
}
