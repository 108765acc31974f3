"""Every example of a configuration, in the documentation and beside it, is one that the program takes.

- Each ```toml block of the documentation, and each file of config/, goes through `longwire check`. A block may be a part of
  a configuration: where it says nothing of keys it gets one, and files of /etc/longwire that it names are made up. A
  block that is none of longwire's is marked by the line `<!-- not longwire -->` before it.
- nginx/longwire.conf goes through `nginx -t`, haproxy/longwire.cfg through `haproxy -c`, where they are installed."""

import os
import pathlib
import re
import subprocess
import tempfile
import types
import unittest

from gateway import SECRET
from proxies import HAPROXY, NGINX, ROOT, HAProxy, Nginx, certificate

PUBLIC_KEYS = ROOT / "tests" / "fixtures" / "keys"
# The fixture for each kind of public key; which kind it is stands above the file's name.
PEM_OF = {"RS": "rsa-2048", "PS": "rsa-2048", "ES256": "ec-p256", "ES384": "ec-p384", "EdDSA": "ed25519"}
MARK = "<!-- not longwire -->"


def blocks(text: str):
    """Each ```toml block with the number of its first line."""
    lines = text.splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"\s*```toml\b", line):
            before = [earlier.strip() for earlier in lines[max(0, number - 3) : number - 1]]
            start = number + 1 if MARK not in before else -1
        elif start is not None and line.strip() == "```":
            if start > 0:
                yield start, "\n".join(lines[start - 1 : number - 1]) + "\n"
            start = None


def documents():
    found = [path for pattern in ("*.md", "docs/*.md", "*/README.md") for path in sorted(ROOT.glob(pattern))]
    assert found, ROOT
    return found


def examples():
    """Where each is, and its text."""
    for path in documents():
        for line, text in blocks(path.read_text()):
            yield f"{path.relative_to(ROOT)}:{line}", text
    for path in sorted((ROOT / "config").glob("*.toml")):
        # The one thing that its reader has to fill in.
        yield str(path.relative_to(ROOT)), path.read_text().replace('\nsecret = ""\n', f'\nsecret = "{SECRET}"\n')


def create_files(text: str, directory: pathlib.Path):
    """Makes up every file that the configuration names below the directory."""
    algorithm = None
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "algorithm":
            algorithm = value.split('"')[1]
        named = re.match(r'"([^"]+)"', value)
        if key.startswith("#") or not named or not key.endswith("_file"):
            continue
        path = directory / named.group(1)
        path.parent.mkdir(parents=True, exist_ok=True)
        if key == "public_key_file":
            name = next(name for start, name in PEM_OF.items() if algorithm.startswith(start))
            path.write_bytes((PUBLIC_KEYS / f"{name}-public.pem").read_bytes())
        elif key == "tls_ca_file":
            certificate(path.parent)[0].rename(path)
        elif key == "jwks_file":
            path.write_bytes((PUBLIC_KEYS / "jwks.json").read_bytes())
        else:
            path.write_text("k" * 128 + "\n")


def check(text: str):
    """What `longwire check` says: exit code and complaints."""
    with tempfile.TemporaryDirectory(prefix="longwire-python-") as name:
        directory = pathlib.Path(name)
        text = text.replace("/etc/longwire/", f"{directory}/")
        if not re.search(r"^\s*(\[\[auth\.keys\]\]|jwks_file\s*=|keys\s*=\s*\[\s*\{)", text, re.MULTILINE):
            text += f'\n[[auth.keys]]\nalgorithm = "HS256"\nsecret = "{SECRET}"\n'
        create_files(text, directory)
        config = directory / "example.toml"
        config.write_text(text)
        command = [os.environ["LONGWIRE_BIN"], "check", "--config", str(config)]
        environment = {"PATH": os.environ.get("PATH", "")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return done.returncode, done.stderr.replace(f"{directory}/", "")


class LongwireExamples(unittest.TestCase):
    def test_every_example_is_taken(self):
        found = list(examples())
        # Fewer mean that they are not found, not that there are none.
        self.assertGreaterEqual(len(found), 6, [where for where, _ in found])
        for where, text in found:
            with self.subTest(where):
                code, complaints = check(text)
                self.assertEqual(code, 0, f"{where}:\n{complaints}\n{text}")

    def test_a_wrong_example_is_seen(self):
        for wrong in ("[server]\nlisten_on = 1\n", '[timeouts]\nping = "25"\n', "[server\n"):
            self.assertEqual(check(wrong)[0], 2, wrong)

    def test_a_marked_block_is_passed_over(self):
        text = f"```toml\na = 1\n```\n{MARK}\n```toml\nb = 1\n```\n```sh\nc\n```\n"
        self.assertEqual(list(blocks(text)), [(2, "a = 1\n")])


class ProxyExamples(unittest.TestCase):
    """With addresses and paths of a cluster that need not be there."""

    def setUp(self):
        nodes = []
        for port in range(3):
            listen = [f"127.0.0.1:{9050 + port}", f"127.0.0.1:{9060 + port}"]
            nodes.append(types.SimpleNamespace(listen=listen, api_port=9041))
        self.cluster = types.SimpleNamespace(nodes=nodes)

    def check(self, proxy_class):
        proxy = proxy_class(self.cluster)
        self.addCleanup(proxy.close)
        done = proxy.check()
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    @unittest.skipUnless(NGINX, "nginx is not installed: apt-get install nginx")
    def test_nginx_takes_its_file(self):
        self.assertIn("test is successful", self.check(Nginx))

    @unittest.skipUnless(HAPROXY, "haproxy is not installed: apt-get install haproxy")
    def test_haproxy_takes_its_file_without_a_warning(self):
        self.assertNotIn("[WARNING]", self.check(HAProxy))


if __name__ == "__main__":
    unittest.main()
