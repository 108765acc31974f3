//! A certificate authority of the test's own and a server certificate by it, made with the `openssl` command.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::TempDir;

pub struct Certificates {
    dir: TempDir,
}

#[track_caller]
fn openssl(at: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(at)
        .output()
        .expect("openssl, which scripts/test installs");
    assert!(
        output.status.success(),
        "{arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Certificates {
    /// For a server on 127.0.0.1.
    pub fn new() -> Self {
        let dir = TempDir::new();
        dir.write(
            "server.ext",
            "subjectAltName = IP:127.0.0.1, DNS:localhost\nextendedKeyUsage = serverAuth\n",
        );
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(
            dir.path(),
            &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=longwire-test-ca"),
        );
        openssl(
            dir.path(),
            &format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"),
        );
        openssl(
            dir.path(),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.pem",
        );
        Self { dir }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// What a nats-server's config says to use them.
    pub fn settings(&self) -> String {
        let at = self.dir.path().display();
        format!("tls {{ cert_file: \"{at}/server.pem\", key_file: \"{at}/server.key\" }}\n")
    }
}
