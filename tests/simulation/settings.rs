//! What a run is set to. Limits are small, so that they are reached.

use fastrand::Rng;
use longwire::config::settings::{Algorithm, KeyMaterial, KeySettings};
use longwire::config::{self, Settings};

use crate::tokens::SECRET;

/// The node's name.
pub const NODE: &str = "simulated";
/// The one `Origin` that is allowed where any is asked for.
pub const ORIGIN: &str = "https://good.example";

/// A kind of run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// One reactor, some tens of clients.
    One,
    /// Two reactors that share a node, with others that hear of who comes and goes.
    Two,
    /// A session policy that control is asked about, and others that hear of who comes and goes.
    Policy,
    /// Many quiet clients, so that fan-outs are paced.
    Crowd,
}

/// Settings for a run of this kind.
pub fn settings(flavour: Flavour, random: &mut Rng) -> Settings {
    let mut settings = config::development(SECRET.to_owned());
    settings.server.node = NODE.to_owned();
    settings.server.connections_max = 0;
    // Each of these keys is tried on a token that may be of any of them: four such tokens spend a turn's budget.
    let pem = include_bytes!("../fixtures/keys/ec-p256-public.pem").to_vec();
    let key = KeySettings {
        id: String::new(),
        algorithm: Algorithm::ES256,
        material: KeyMaterial::PublicKeyPem(pem),
    };
    settings.auth.keys.extend(vec![key; 8]);
    if flavour == Flavour::Policy {
        settings.sessions.per_user_max = 2;
    }
    if matches!(flavour, Flavour::Two | Flavour::Policy) {
        settings.nats.url = vec!["nats://127.0.0.1:4222".to_owned()];
    }
    vary(flavour, &mut settings, random);
    settings
}

/// Draws anew what may change while running.
pub fn vary(flavour: Flavour, settings: &mut Settings, random: &mut Rng) {
    let mut pick = |choices: &[u64]| choices[random.usize(..choices.len())];
    settings.server.origins = if pick(&[0, 1]) == 0 {
        Vec::new()
    } else {
        vec![ORIGIN.to_owned()]
    };
    settings.auth.require_exp = pick(&[0, 1]) == 0;
    settings.auth.leeway_ms = pick(&[0, 5_000]);
    let topics = [&[][..], &["news", "room.*"], &["*"]][pick(&[0, 1, 1, 2]) as usize];
    settings.auth.default_topics = topics.iter().map(|&topic| topic.to_owned()).collect();
    let paths = [&["*"][..], &["order/*", "chat/send"]][pick(&[0, 1]) as usize];
    settings.auth.default_paths = paths.iter().map(|&path| path.to_owned()).collect();
    settings.timeouts.handshake_ms = pick(&[3_000, 10_000]);
    settings.timeouts.connect_ms = pick(&[5_000, 60_000, 60_000]);
    settings.timeouts.ping_ms = pick(&[10_000, 25_000]);
    settings.timeouts.pong_ms = pick(&[2_000, 10_000, 40_000]);
    settings.limits.message_bytes = pick(&[2_048, 65_536]) as usize;
    settings.limits.topics_per_connection = pick(&[2, 4, 100]) as usize;
    settings.limits.outbound_bytes = pick(&[4_096, 16_384, 65_536]) as usize;
    settings.limits.push_bytes = settings.limits.outbound_bytes / 2;
    settings.limits.outbound_total_bytes = pick(&[16_384, 65_536, 1 << 30, 1 << 30]) as usize;
    settings.limits.messages_per_second = pick(&[0, 0, 5, 50]) as u32;
    settings.limits.connections_per_ip = pick(&[0, 0, 3]) as usize;
    settings.limits.history_bytes = pick(&[0, 1 << 20]) as usize;
    if flavour == Flavour::Crowd {
        settings.auth.default_topics = vec!["*".to_owned()];
        settings.limits.outbound_bytes = 1 << 20;
        settings.limits.outbound_total_bytes = 1 << 30;
        settings.limits.connections_per_ip = 0;
        settings.limits.messages_per_second = 0;
    }
}
