//! The accounting against a deliberately wrong little server: it loses, doubles, disorders or garbles what it sends on,
//! or does nothing of the kind. Driven by the real worker processes and the real coordinator over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longwire_load::cli::{Kind, Options};
use longwire_load::result::Run;
use longwire_load::scenarios;

use support::websocket::{frame, read_frame, upgrade};

/// What is wrong with it, for every seventh message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    Loses,
    LosesTheTail,
    Doubles,
    Disorders,
    Garbles,
    ClosesOne,
}

#[derive(Default)]
struct Room {
    members: Vec<TcpStream>,
    /// A message that is held back.
    held: Option<Vec<u8>>,
    count: u64,
}

/// Sends every text on to everybody (or only back, as an echo), wrongly.
fn start(wrong: Wrong, echo: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let room = Arc::new(Mutex::new(Room::default()));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let room = Arc::clone(&room);
            std::thread::spawn(move || serve(stream, &room, wrong, echo));
        }
    });
    address
}

fn serve(mut stream: TcpStream, room: &Mutex<Room>, wrong: Wrong, echo: bool) {
    if upgrade(&mut stream).is_none() {
        return;
    }
    room.lock().unwrap().members.push(stream.try_clone().unwrap());
    while let Some((1, message)) = read_frame(&mut stream) {
        let mut room = room.lock().unwrap();
        room.count += 1;
        let odd = room.count % 7 == 3;
        let mut all = vec![message];
        match wrong {
            Wrong::Loses if odd => all.clear(),
            Wrong::LosesTheTail if room.count > 12 => all.clear(),
            Wrong::Doubles if odd => all.push(all[0].clone()),
            Wrong::Garbles if odd => {
                let middle = all[0].len() / 2;
                all[0][middle] ^= 1;
            }
            Wrong::Disorders if odd => room.held = all.pop(),
            Wrong::Disorders => all.extend(room.held.take()),
            Wrong::ClosesOne if room.count == 5 => {
                let last = room.members.pop().unwrap();
                let _ = last.shutdown(std::net::Shutdown::Both);
            }
            _ => {}
        }
        for message in all {
            let frame = frame(0x81, &message);
            if echo {
                let _ = stream.write_all(&frame);
            } else {
                for member in &mut room.members {
                    let _ = member.write_all(&frame);
                }
            }
        }
    }
}

fn run(wrong: Wrong, echo: bool) -> Run {
    let mut options = Options::defaults();
    options.connections = 12;
    options.workers = Some(2);
    options.target = vec![format!("ws://{}/ws", start(wrong, echo))];
    options.target_kind = Kind::Raw;
    options.worker_binary = Some(env!("CARGO_BIN_EXE_longwire-load").into());
    options.duration = Some(Duration::from_secs(1));
    options.quiet = true;
    options.rate = Some(if echo { 100.0 } else { 20.0 });
    options.echo = echo;
    options.broadcast = !echo;
    scenarios::run(if echo { "call" } else { "fanout" }, options).unwrap()
}

#[test]
fn a_right_server_has_clean_accounts() {
    for echo in [false, true] {
        let accounts = run(Wrong::Nothing, echo).accounts;
        assert!(accounts.due >= 99, "{accounts:?}");
        assert_eq!(accounts.received, accounts.due, "{accounts:?}");
        let faults = accounts.duplicated + accounts.out_of_order + accounts.lost + accounts.garbled;
        assert_eq!(faults + accounts.unaccountable, 0, "{accounts:?}");
    }
}

#[test]
fn losses_are_seen_in_the_middle_and_at_the_end() {
    for wrong in [Wrong::Loses, Wrong::LosesTheTail] {
        let accounts = run(wrong, false).accounts;
        assert!(accounts.lost >= 12, "{wrong:?}: {accounts:?}");
        assert_eq!(
            accounts.received + accounts.lost,
            accounts.due,
            "{wrong:?}: {accounts:?}"
        );
        assert_eq!(
            accounts.duplicated + accounts.out_of_order + accounts.garbled,
            0,
            "{wrong:?}: {accounts:?}"
        );
    }
    let accounts = run(Wrong::Loses, true).accounts;
    assert!(
        accounts.lost > 0 && accounts.received + accounts.lost == accounts.due,
        "{accounts:?}"
    );
}

#[test]
fn doubles_are_seen() {
    for echo in [false, true] {
        let accounts = run(Wrong::Doubles, echo).accounts;
        assert!(accounts.duplicated > 0, "{accounts:?}");
        assert_eq!((accounts.received, accounts.lost), (accounts.due, 0), "{accounts:?}");
    }
}

#[test]
fn disorder_is_seen() {
    let accounts = run(Wrong::Disorders, false).accounts;
    assert!(accounts.out_of_order >= 12, "{accounts:?}");
    assert_eq!(
        (accounts.lost, accounts.duplicated, accounts.garbled),
        (0, 0, 0),
        "{accounts:?}"
    );
}

#[test]
fn changed_bytes_are_seen() {
    for echo in [false, true] {
        let accounts = run(Wrong::Garbles, echo).accounts;
        assert!(accounts.garbled > 0, "{accounts:?}");
        assert_eq!(accounts.received + accounts.lost, accounts.due, "{accounts:?}");
    }
}

#[test]
fn what_was_due_to_a_lost_connection_proves_nothing() {
    let run = run(Wrong::ClosesOne, false);
    let accounts = run.accounts;
    assert!(accounts.unaccountable > 0, "{accounts:?}");
    assert_eq!(accounts.lost, 0, "{accounts:?}");
    assert_eq!(accounts.received + accounts.unaccountable, accounts.due, "{accounts:?}");
    assert_eq!(run.errors.get("connection_lost"), Some(&1), "{:?}", run.errors);
}
