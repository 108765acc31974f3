"""sysctl/tune on a copy of a host's /proc/sys: it changes what is needed, shows it, and takes it back. And what it sets
is what `longwire doctor` needs; both have the same reasons."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

PROJECT = pathlib.Path(__file__).resolve().parents[2]
TUNE = PROJECT / "sysctl" / "tune"
FIXTURE = PROJECT / "tests" / "fixtures" / "doctor" / "fine"

# A Debian as found, on a machine with little memory, whose firewall tracks connections.
AS_FOUND = {
    "fs.nr_open": "1048576",
    "fs.file-max": "99000",
    "net.core.somaxconn": "4096",
    "net.ipv4.tcp_mem": "20000\t30000\t40000",
    "net.ipv4.tcp_notsent_lowat": "4294967295",
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.netfilter.nf_conntrack_max": "65536",
    "net.netfilter.nf_conntrack_count": "12",
}


class Host(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="longwire-tune-")
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        shutil.copytree(FIXTURE, self.root, dirs_exist_ok=True)
        for key, value in AS_FOUND.items():
            self.set(key, value)
        self.saved = self.root / "var/lib/longwire/tune.saved"
        self.kept = self.root / "etc/sysctl.d/90-longwire-tune.conf"

    def file(self, key):
        return self.root / "proc/sys" / key.replace(".", "/")

    def set(self, key, value):
        self.file(key).parent.mkdir(parents=True, exist_ok=True)
        self.file(key).write_text(value + "\n")

    def get(self, key):
        return " ".join(self.file(key).read_text().split())

    def all(self):
        return {key: self.get(key) for key in AS_FOUND}

    def tune(self, *arguments, code=0):
        done = subprocess.run(
            [TUNE, "--root", self.root, *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def test_diff_shows_and_changes_nothing(self):
        before = self.all()
        shown = self.tune("diff", "--connections", "50000")
        self.assertIn("net.core.somaxconn: 4096 -> 65535\n", shown)
        self.assertIn("net.ipv4.tcp_mem: 20000 30000 40000 -> 37500 50000 100000\n", shown)
        self.assertNotIn("fs.nr_open", shown)
        self.assertNotIn("ip_local_port_range", shown)
        self.assertIn("ip_local_port_range: 32768 60999 -> 10240 65535", self.tune("diff", "--ports"))
        self.assertEqual(self.all(), before)
        self.assertFalse(self.saved.exists() or self.kept.exists())

    def test_undo_brings_back_what_apply_replaced(self):
        before = self.all()
        shown = self.tune("apply", "--connections", "50000")
        self.assertIn("net.core.somaxconn: 4096 -> 65535\n", shown)
        self.assertEqual(self.get("net.core.somaxconn"), "65535")
        self.assertEqual(self.get("net.netfilter.nf_conntrack_max"), "262144")
        # Once more, and for more: the first values are the ones to go back to.
        self.assertNotIn("->", self.tune("apply", "--connections", "50000"))
        self.tune("apply", "--connections", "2000000", "--ports")
        self.assertEqual(self.get("fs.nr_open"), "2097152")
        kept = self.kept.read_text()
        for key in ("net.core.somaxconn", "fs.nr_open", "net.ipv4.ip_local_port_range"):
            self.assertIn(f"{key} = {self.get(key)}\n", kept)
        self.tune("undo")
        self.assertEqual(self.all(), before)
        self.assertFalse(self.saved.exists() or self.kept.exists())
        self.assertIn("nothing to undo", self.tune("undo", code=1))

    def test_what_somebody_else_set_since_is_left(self):
        self.tune("apply")
        self.set("net.core.somaxconn", "20000")
        self.assertIn("net.core.somaxconn: is 20000", self.tune("undo"))
        self.assertEqual(self.get("net.core.somaxconn"), "20000")
        self.assertEqual(self.get("net.ipv4.tcp_notsent_lowat"), "4294967295")

    def test_limits_are_never_lowered(self):
        self.set("fs.file-max", "9223372036854775807")
        self.set("fs.nr_open", "1073741816")
        self.set("net.core.somaxconn", "100000")
        self.tune("apply", "--connections", "1")
        self.assertEqual(self.get("fs.file-max"), "9223372036854775807")
        self.assertEqual(self.get("fs.nr_open"), "1073741816")
        self.assertEqual(self.get("net.core.somaxconn"), "100000")

    def test_what_is_missing_or_no_number_is_left(self):
        self.file("net.ipv4.tcp_mem").unlink()
        self.set("net.core.somaxconn", "garbage")
        self.file("net.netfilter.nf_conntrack_count").unlink()
        self.tune("apply", "--connections", "1000000", "--ports")
        self.assertEqual(self.get("net.core.somaxconn"), "garbage")
        self.assertFalse(self.file("net.ipv4.tcp_mem").exists())
        self.assertEqual(self.get("net.netfilter.nf_conntrack_max"), "65536")

    def test_a_state_file_of_the_caller_s_choice(self):
        state = self.root / "elsewhere" / "saved"
        self.tune("apply", "--state", str(state))
        self.assertTrue(state.exists() and not self.saved.exists())
        self.tune("undo", "--state", str(state))
        self.assertFalse(state.exists())

    def test_a_wrong_command_line_says_so(self):
        for arguments in (["diff", "--connections", "0"], ["diff", "--connections", "1e5"], ["diff", "--connections"],
                          ["diff", "undo"], ["shake"], []):
            self.assertNotEqual(self.tune(*arguments, code=2), "")
        self.assertIn("tune undo", self.tune("--help"))

    def test_what_it_sets_is_enough_for_the_doctor(self):
        settings = {"nr_open", "file_max", "somaxconn", "tcp_mem", "conntrack", "ports"}
        (self.root / "etc/longwire/longwire.toml").write_text(
            'server.listen = ["127.0.0.1:9040"]\nserver.reactors = 1\n[[auth.keys]]\nalgorithm = "HS256"\n'
            'secret = "the secret of a host that is not there"\n'
        )
        site = self.root / "etc/nginx/conf.d/longwire.conf"
        for connections in (1, 10_000, 55_000, 300_000, 3_000_000):
            with self.subTest(connections=connections):
                # Enough addresses for any number, with the ports that there are.
                passes = "".join(f"server 127.0.1.{n}:9040;" for n in range(1, 2 + connections // 55_296))
                site.write_text(f"upstream lw {{ {passes} }} server {{ location / {{ proxy_pass http://lw; }} }}")
                self.tune("apply", "--ports", "--connections", str(connections))
                done = subprocess.run(
                    [os.environ["LONGWIRE_BIN"], "doctor", "--json", "--root", self.root, "--connections",
                     str(connections)],
                    capture_output=True, text=True, timeout=30, check=False, env={"PATH": os.environ["PATH"]},
                )
                rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
                for name in settings:
                    self.assertEqual(rows[name]["verdict"], "ok", rows[name])


class Files(unittest.TestCase):
    def test_every_setting_of_the_sysctl_file_has_its_reason(self):
        paragraphs = (PROJECT / "sysctl/60-longwire.conf").read_text().split("\n\n")
        keys = []
        for paragraph in paragraphs:
            lines = paragraph.splitlines()
            setting = re.fullmatch(r"#?-?([a-z0-9_.-]+) = ([0-9 ]+)", lines[-1])
            if not setting:
                self.assertNotIn(" = ", lines[-1])
                continue
            keys.append(setting[1])
            for word in ("unit:", "default:", "memory:", "right for:"):
                self.assertIn(word, paragraph, setting[1])
        self.assertEqual(len(keys), len(set(keys)))
        # What tune sets and what the file has are the same settings.
        tune = TUNE.read_text()
        for key in keys:
            self.assertIn(key, tune)

    def test_the_limits_file_is_what_pam_reads(self):
        lines = (PROJECT / "sysctl/limits-longwire.conf").read_text().splitlines()
        entries = [line.split() for line in lines if not line.startswith("#")]
        self.assertEqual(entries, [["longwire", "hard", "nofile", "1048576"]])


if __name__ == "__main__":
    unittest.main()
