//! What is refused, with the line at fault and what the message has to say: values of the right kind that make no
//! sense.

use super::refused::refused;
use super::*;

#[test]
fn durations_without_sense() {
    refused("[timeouts]\nping = 25\n", 2, "25 has no unit; write \"25s\"");
    refused(
        "[timeouts]\nping = 1.5\n",
        2,
        "must be a duration such as \"25s\", but is a fraction",
    );
    for text in [
        "", "s", "5", "5 s", "1.5s", "-5s", "5S", "5sec", "5s5s", "5s1m", "5µs", "٣s",
    ] {
        refused(
            &format!("[auth]\nleeway = '{text}'\n"),
            2,
            "is no duration; write whole numbers with units",
        );
    }
    for text in ["99999999999999999d", "213503982334d20h", "18446744073709551615ms1s"] {
        assert!(
            load_text(&format!("[auth]\nleeway = '{text}'\n{KEY}"), &[], &[]).is_err(),
            "{text}"
        );
    }
    refused("[auth]\nleeway = '61m'\n", 2, "is too much; write 0s to 1h");
    for key in ["handshake", "connect", "ping", "pong", "call"] {
        refused(
            &format!("[timeouts]\n{key} = '0s'\n"),
            2,
            &format!("timeouts.{key}: 0s is too little"),
        );
        refused(
            &format!("[timeouts]\n{key} = '25h'\n"),
            2,
            "is too much; write 1ms to 1d",
        );
    }
    refused("[timeouts]\ndrain = '2d'\n", 2, "is too much");
}

#[test]
fn limits_of_nonsense() {
    refused(
        "[limits]\nmessage_bytes = 0\n",
        2,
        "0 is too little: no connect with a token fits; write 128 to 16MiB",
    );
    refused("[limits]\nmessage_bytes = 1\n", 2, "1 is too little");
    refused("[limits]\nmessage_bytes = '17MiB'\n", 2, "is too much");
    refused("[limits]\nmessage_bytes = -5\n", 2, "cannot be negative");
    refused("[limits]\npush_bytes = 0\n", 2, "no push fits");
    refused("[limits]\noutbound_bytes = '511'\n", 2, "511 is too little");
    refused(
        "[limits]\noutbound_total_bytes = 99\n",
        2,
        "or 0 for a quarter of the memory",
    );
    refused(
        "[limits]\noutbound_total_bytes = 99999999999999999999\n",
        2,
        "is too much",
    );
    refused(
        "[limits]\npush_bytes = '2MiB'\noutbound_bytes = '1MiB'\n",
        2,
        "more than limits.outbound_bytes",
    );
    refused("[limits]\ntopics_per_connection = 0\n", 2, "nobody could subscribe");
    refused("[limits]\nhistory_bytes = 1000\n", 2, "at least 1MiB, or 0");
    refused("[limits]\nhistory_bytes = '65GiB'\n", 2, "64GiB");
    refused("[limits]\nmessages_per_second = 2_000_000\n", 2, "write 0 to 1000000");
    refused("[limits]\nconnections_per_ip = -1\n", 2, "cannot be negative");
    refused("[server]\nreactors = 257\n", 2, "write 0 to 256");
    refused("[sessions]\nper_user_max = -1\n", 2, "cannot be negative");
    for text in ["64K", "64kb", "1.5MiB", "64 KiB", "KiB", "", "1MiB1KiB", "-1B"] {
        refused(
            &format!("[limits]\nmessage_bytes = '{text}'\n"),
            2,
            "is no size; write a number of bytes",
        );
    }
    for text in ["99999999999999999999", "99999999999999GiB"] {
        refused(&format!("[limits]\nmessage_bytes = '{text}'\n"), 2, "is too large");
    }
}

#[test]
fn addresses_that_cannot_be_listened_on() {
    refused("[server]\nlisten = []\n", 2, "is empty; write at least one address");
    refused(
        "[server]\nlisten = ['127.0.0.1:1',\n'127.0.0.1:1']\n",
        3,
        "has an address twice",
    );
    refused("[server]\nlisten = ['unix:/a', 'unix:/a']\n", 2, "has an address twice");
    refused("[server]\nlisten = ':9040'\n", 2, "\"0.0.0.0:9040\" for every network");
    refused(
        "[server]\nlisten = '::1'\n",
        2,
        "has no port; write one after it, such as \"[::1]:9040\"",
    );
    refused("[server]\nlisten = 'localhost:9040'\n", 2, "names are not looked up");
    refused("[server]\nlisten = 'unix:ws.sock'\n", 2, "needs an absolute path");
    refused("[server]\nlisten = 'unix:/run/'\n", 2, "such as \"unix:/run/ws.sock\"");
    refused(
        &format!("[server]\nlisten = 'unix:/{}'\n", "x".repeat(107)),
        2,
        "at most 107 bytes fit",
    );
    refused(
        "[server]\nlisten = '/run/ws.sock'\n",
        2,
        "is written \"unix:/run/ws.sock\"",
    );
    refused(
        "[api]\nlisten = '0.0.0.0:9041'\n",
        2,
        "open to the network, but there are no keys",
    );
    refused("[api]\nlisten = '[::ffff:10.0.0.1]:9041'\n", 2, "open to the network");
    refused("[api]\nlisten = '127.0.0.1:9040'\n", 2, "is one of server.listen too");
    refused(
        "[server]\nlisten = '127.0.0.1:9041'\n",
        2,
        "is one of server.listen too",
    );
    assert!(load_text(&format!("[api]\nlisten = '[::ffff:127.0.0.1]:9041'\n{KEY}"), &[], &[]).is_ok());
}

#[test]
fn names_ranges_origins_and_patterns_that_fit_nothing() {
    for name in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
        refused(&format!("[server]\nnode = '{name}'\n"), 2, "is no name for a node");
    }
    refused(
        "[server]\ntrusted_proxies = ['10.1.2.3/8']\n",
        2,
        "write \"10.0.0.0/8\" or \"10.1.2.3\"",
    );
    refused(
        "[server]\ntrusted_proxies = ['10.0.0.0/33']\n",
        2,
        "but the address has 32",
    );
    for range in ["10.0.0", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/999", "proxy", "unix:"] {
        refused(
            &format!("[server]\ntrusted_proxies = ['{range}']\n"),
            2,
            "is no address range",
        );
    }
    refused("[server]\norigins = ['https://a.b/']\n", 2, "write \"https://a.b\"");
    refused(
        "[server]\norigins = ['https://a.b:81/c?d']\n",
        2,
        "write \"https://a.b:81\"",
    );
    refused("[server]\norigins = ['*']\n", 2, "leave the list empty for any");
    refused("[server]\norigins = ['https://*.a.b']\n", 2, "has a wildcard");
    refused("[server]\norigins = ['a.b']\n", 2, "has no scheme");
    refused("[server]\norigins = ['https://a.b:443']\n", 2, "leave the port out");
    refused("[server]\norigins = ['https://a.b:http']\n", 2, "has no valid port");
    for origin in [
        "https://",
        "https://u@a.b",
        "https://bücher.de",
        "https://a b",
        "https://::1",
    ] {
        refused(&format!("[server]\norigins = ['{origin}']\n"), 2, "has no plain host");
    }
    refused("[auth]\ndefault_paths = ['/order']\n", 2, "no segment is empty");
    refused("[auth]\ndefault_paths = ['order.create']\n", 2, "'.' cannot occur");
    refused("[auth]\ndefault_paths = ['*/create']\n", 2, "has a '*' before its end");
    refused("[auth]\ndefault_topics = ['room/*']\n", 2, "'/' cannot occur");
    refused("[auth]\ndefault_topics = ['room..*']\n", 2, "no segment is empty");
    refused(
        &format!("[auth]\ndefault_topics = ['{}']\n", "x".repeat(257)),
        2,
        "256 is the most",
    );
    refused("[auth]\nuser_claim = ''\n", 2, "must name a claim");
    refused("[sessions]\nwhen_full = 'rejects'\n", 2, "did you mean \"reject\"?");
    refused(
        "[sessions]\nwhen_full = 'wait'\n",
        2,
        "write one of reject, replace_oldest",
    );
}

#[test]
fn a_bus_that_cannot_be_reached_so() {
    refused(
        "[nats]\nurl = 'http://a:4222'\n",
        2,
        "the scheme \"http\" is not spoken",
    );
    refused(
        "[nats]\nurl = 'nats://u:p@a:4222'\n",
        2,
        "put it into nats.user and nats.password",
    );
    for url in [
        "nats://",
        "nats://a:0",
        "nats://a:port",
        "nats://a b",
        "a:70000",
        "nats://a/b",
        "nats://::1:4222",
    ] {
        refused(&format!("[nats]\nurl = '{url}'\n"), 2, "is no server's URL");
    }
    refused("[nats]\nuser = 'u'\n", 2, "has no nats.password beside it");
    refused("[nats]\npassword = 'p'\n", 2, "has no nats.user beside it");
    refused(
        "[nats]\nuser = 'u'\npassword = 'p'\ntoken = 't'\n",
        4,
        "is given beside nats.user",
    );
    refused(
        "[nats]\ncredentials_file = 'nats.creds'\ntoken = 't'\n",
        3,
        "is given beside nats.credentials_file",
    );
    for prefix in ["", ".", "a.", "a..b", "a b", "a.*", "ä"] {
        refused(&format!("[nats]\nprefix = '{prefix}'\n"), 2, "cannot begin a subject");
    }
}

#[test]
fn logs_that_nobody_writes() {
    refused("[log]\nlevel = 'warning'\n", 2, "did you mean \"warn\"?");
    refused("[log]\nlevel = 'debgu'\n", 2, "did you mean \"debug\"?");
    refused(
        "[log]\nlevel = 'verbose'\n",
        2,
        "a level is error, warn, info, debug, trace, off",
    );
    refused("[log]\nlevel = 'info,longwire'\n", 2, "\"longwire\" is no log level");
    refused("[log]\nlevel = 'info,=debug'\n", 2, "names no target");
    refused("[log]\nlevel = ''\n", 2, "is no log level");
    refused("[log]\nformat = 'jsn'\n", 2, "did you mean \"json\"?");
    for (level, kept) in [
        ("INFO", "INFO"),
        ("off", "off"),
        ("warn, longwire::control=debug", "warn,longwire::control=debug"),
    ] {
        assert_eq!(settings(&format!("[log]\nlevel = '{level}'\n")).log.level, kept);
    }
}
