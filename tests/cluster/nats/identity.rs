//! An operator, an account and a user by NATS's JWTs, made here from scratch: what `nsc` would make. The server's config
//! and the user's credentials file come out.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::support::now_s;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Groups of `bits` from the first byte on, without padding.
fn encoded(bytes: &[u8], bits: u32, alphabet: &[u8]) -> String {
    let (mut buffer, mut held) = (0_u32, 0);
    let mut out = String::new();
    let mut put = |group: u32| out.push(char::from(alphabet[(group & ((1 << bits) - 1)) as usize]));
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        held += 8;
        while held >= bits {
            held -= bits;
            put(buffer >> held);
        }
        buffer &= (1 << held) - 1;
    }
    if held > 0 {
        put(buffer << (bits - held));
    }
    out
}

/// CRC-16/XMODEM, as nkeys ends with.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

fn nkey(prefix: &[u8], key: &[u8]) -> String {
    let mut bytes = [prefix, key].concat();
    bytes.extend(crc16(&bytes).to_le_bytes());
    encoded(&bytes, 5, BASE32)
}

const OPERATOR: u8 = 14 << 3;
const ACCOUNT: u8 = 0;
const USER: u8 = 20 << 3;

struct Identity {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
    kind: u8,
}

impl Identity {
    fn new(kind: u8) -> Self {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        Self { pair, seed, kind }
    }

    fn public(&self) -> String {
        nkey(&[self.kind], self.pair.public_key().as_ref())
    }

    /// The seed in nkeys's own form: 5 bits say that it is one, 5 bits say of what.
    fn secret(&self) -> String {
        const SEED: u8 = 18 << 3;
        nkey(&[SEED | (self.kind >> 5), (self.kind & 31) << 3], &self.seed)
    }

    /// A JWT by this one for `subject`.
    fn sign(&self, subject: &Identity, name: &str, nats: &Value) -> String {
        let mut claims = json!({
            "iat": now_s(), "iss": self.public(), "sub": subject.public(), "name": name, "nats": nats,
        });
        let id = digest(&SHA256, claims.to_string().as_bytes());
        claims["jti"] = encoded(id.as_ref(), 5, BASE32).into();
        let part = |value: &Value| encoded(value.to_string().as_bytes(), 6, BASE64URL);
        let signed = format!(
            "{}.{}",
            part(&json!({"typ": "JWT", "alg": "ed25519-nkey"})),
            part(&claims)
        );
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", encoded(signature.as_ref(), 6, BASE64URL))
    }
}

/// What a server and its user need.
pub struct Issued {
    /// Lines of the server's config.
    pub settings: String,
    /// A `.creds` file's content.
    pub credentials: String,
    /// One of another user, whose account the server does not know.
    pub foreign_credentials: String,
}

/// One operator, one account, one user; and a stranger.
pub fn issue() -> Issued {
    let operator = Identity::new(OPERATOR);
    let of_operator = operator.sign(&operator, "test", &json!({"type": "operator", "version": 2}));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let user_of = |account: &Identity| {
        let user = Identity::new(USER);
        let claims = json!({
            "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
        });
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            account.sign(&user, "longwire", &claims),
            user.secret()
        )
    };
    let account = Identity::new(ACCOUNT);
    let claims = json!({
        "limits": limits, "default_permissions": {"pub": {}, "sub": {}}, "type": "account", "version": 2,
    });
    let of_account = operator.sign(&account, "app", &claims);
    Issued {
        settings: format!(
            "operator: \"{of_operator}\"\nresolver: MEMORY\nresolver_preload: {{ {}: \"{of_account}\" }}\n",
            account.public()
        ),
        credentials: user_of(&account),
        foreign_credentials: user_of(&Identity::new(ACCOUNT)),
    }
}
