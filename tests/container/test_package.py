"""The Debian package, installed, used, upgraded, removed and purged by a real dpkg. Run by `scripts/test-package`; the
steps build on each other."""

import asyncio
import contextlib
import logging
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from container import PATIENCE_S, Container, closed, config, login, patiently

DEB = pathlib.Path(os.environ["LONGWIRE_DEB"]).resolve()
# What lintian would have otherwise, with the reason why it is so.
LINTIAN_KNOWN = {
    "initial-upload-closes-no-bugs": "the package is not Debian's",
    "maintainer-script-calls-systemctl": "debhelper's ways would start, enable and restart",
    "non-standard-file-perm": "the configuration may hold secrets",
}
logging.getLogger("asyncio").setLevel(logging.ERROR)


def newer(version: str, shipped_config: str) -> pathlib.Path:
    """The same package as a later version whose shipped configuration and defaults differ."""
    to = DEB.with_name(f"longwire-{version}.deb")
    with tempfile.TemporaryDirectory() as unpacked:
        subprocess.run(["dpkg-deb", "-R", DEB, unpacked], check=True)
        root = pathlib.Path(unpacked)
        control = root / "DEBIAN/control"
        control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
        for file in ("etc/longwire/longwire.toml", "etc/default/longwire"):
            path = root / file
            path.write_text(path.read_text() + shipped_config)
        (root / "DEBIAN/md5sums").unlink(missing_ok=True)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", unpacked, to], check=True, stdout=subprocess.DEVNULL)
    return to


class Package(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        newest = newer("9.0-1", "\n# A line that the new version brings.\n")
        cls.addClassCleanup(newest.unlink)

        def prepare(root):
            shutil.copy(DEB, root / "root/longwire.deb")
            shutil.copy(newest, root / "root/newer.deb")
            # The archive's images leave documentation out; here it is looked for.
            for file in (root / "etc/dpkg/dpkg.cfg.d").glob("*"):
                file.unlink()

        cls.container = Container(prepare)
        cls.addClassCleanup(cls.container.close)

    def run_in(self, *command, **options):
        return self.container.run(*command, **options)

    def observe(self, *facts):
        print("   ", *facts, flush=True)

    def exists(self, path):
        return os.path.lexists(self.container.path(path))

    def owner(self, path):
        return self.run_in("stat", "-c", "%U:%G %a", path)

    def state(self):
        enabled = [self.run_in("systemctl", "is-enabled", f"longwire.{kind}", check=False) for kind in ("service", "socket")]
        return self.container.show("ActiveState"), *enabled

    # -- before it is installed --------------------------------------------------------------------------------------

    def test_0_lintian_has_nothing_against_it(self):
        done = subprocess.run(
            ["lintian", "--allow-root", "--fail-on", "none", "--no-cfg", DEB], capture_output=True, text=True
        )
        lines = [line for line in done.stdout.splitlines() if re.match("[EW]: ", line)]
        left = [line for line in lines if line.split(": ", 2)[2].split()[0] not in LINTIAN_KNOWN]
        self.observe("lintian:", len(lines), "errors and warnings,", len(left), "of them unexpected")
        self.assertEqual(left, [])

    # -- the life of an installation ---------------------------------------------------------------------------------

    def test_1_it_installs_and_starts_nothing(self):
        said = self.run_in("dpkg", "-i", "/root/longwire.deb")
        self.observe(*(line for line in said.splitlines() if "neither started" in line))
        self.assertIn("systemctl enable --now", said)
        self.assertEqual(self.state(), ("inactive", "disabled", "disabled"))
        self.assertEqual(self.run_in("id", "-un", "longwire"), "longwire")
        self.assertEqual(self.owner("/etc/longwire"), "root:longwire 750")
        self.assertEqual(self.owner("/etc/longwire/longwire.toml"), "root:longwire 640")
        self.assertEqual(self.run_in("longwire", "--version").split()[0], "longwire")
        conffiles = self.run_in("dpkg-query", "-W", "-f", "${Conffiles}", "longwire")
        self.assertEqual(set(re.findall(r"/\S+", conffiles)), {"/etc/longwire/longwire.toml", "/etc/default/longwire"})

    def test_2_every_piece_is_in_its_place(self):
        for path in (
            "/usr/lib/systemd/system/longwire.service", "/usr/lib/systemd/system/longwire.socket",
            "/usr/lib/sysusers.d/longwire.conf", "/usr/lib/sysctl.d/60-longwire.conf",
            "/usr/share/doc/longwire/install.md", "/usr/share/doc/longwire/systemd.md",
            "/usr/share/doc/longwire/examples/longwire.service.d/limits.conf.example",
        ):
            self.assertTrue(self.exists(path), path)
        for page in ("longwire", "longwire-serve", "longwire-push"):
            self.assertTrue(self.exists(f"/usr/share/man/man1/{page}.1.gz"), page)
        words = self.run_in(
            "bash", "-c", ". /usr/share/bash-completion/completions/longwire; COMP_WORDS=(longwire ch) COMP_CWORD=1; "
            "_longwire longwire ch longwire; echo ${COMPREPLY[*]}",
        )
        self.assertEqual(words, "check")
        self.assertTrue(self.exists("/usr/share/zsh/vendor-completions/_longwire"))
        self.assertTrue(self.exists("/usr/share/fish/vendor_completions.d/longwire.fish"))

    def test_3_without_a_key_it_says_what_is_missing(self):
        done = self.container.done("longwire", "check")
        self.assertEqual(done.returncode, 2)
        self.assertIn("longwire.toml:", done.stderr)
        self.observe("longwire check:", done.stderr.splitlines()[0])

    async def test_4_with_a_key_it_runs(self):
        self.container.write("/etc/longwire/longwire.toml", config())
        self.run_in("longwire", "check")
        self.run_in("systemctl", "enable", "--now", "longwire.socket", "longwire.service")
        self.assertEqual(self.state(), ("active", "enabled", "enabled"))
        client = await login(self.container, "u")
        await client.close()

    async def test_5_an_upgrade_keeps_the_configuration_and_the_connections(self):
        client, pid = await login(self.container, "u"), self.container.show("MainPID")
        said = self.run_in("dpkg", "--force-confdef", "--force-confold", "-i", "/root/newer.deb")
        self.assertEqual(self.run_in("dpkg-query", "-W", "-f", "${Version}", "longwire"), "9.0-1")
        self.assertEqual(self.container.path("/etc/longwire/longwire.toml").read_text(), config())
        self.assertEqual(self.owner("/etc/longwire/longwire.toml"), "root:longwire 640")
        self.assertIn("new version brings", self.container.path("/etc/longwire/longwire.toml.dpkg-dist").read_text())
        self.assertIn("new version brings", self.container.path("/etc/default/longwire").read_text(), "nobody had changed it")
        self.assertEqual(self.container.show("MainPID"), pid)
        await patiently(await client.ping())
        self.observe(*(line for line in said.splitlines() if "goes on as it is" in line))
        self.run_in("systemctl", "restart", "longwire.service")
        self.assertEqual((await closed(client))[0], 1012)
        self.assertEqual(self.state(), ("active", "enabled", "enabled"))
        await (await login(self.container, "u")).close()

    async def test_6_a_removal_drains_it_and_leaves_the_configuration(self):
        client = await login(self.container, "u")
        removal = self.container.start("dpkg", "-r", "longwire")
        self.assertEqual((await closed(client))[0], 1012)
        self.assertEqual(await asyncio.to_thread(removal.wait, PATIENCE_S), 0)
        self.assertFalse(self.exists("/usr/bin/longwire"))
        self.assertEqual(self.container.path("/etc/longwire/longwire.toml").read_text(), config())
        self.assertEqual(self.container.show("LoadState"), "not-found")
        self.assertEqual(list(self.container.path("/etc/systemd/system").glob("*/longwire.*")), [])

    def test_7_installed_again_it_finds_its_configuration(self):
        self.run_in("dpkg", "--force-confdef", "--force-confold", "-i", "/root/newer.deb")
        self.assertEqual(self.container.path("/etc/longwire/longwire.toml").read_text(), config())
        self.assertEqual(self.state(), ("inactive", "disabled", "disabled"))
        self.run_in("systemctl", "start", "longwire.service")
        self.assertEqual(self.state()[0], "active")

    def test_8_a_purge_leaves_nothing(self):
        self.run_in("dpkg", "-P", "longwire")
        with contextlib.suppress(FileNotFoundError):
            for leftover in self.container.path("/root").glob("*.deb"):
                leftover.unlink()
        left = self.run_in(
            "find", "/", "-xdev", "-name", "*longwire*", "-not", "-path", "/proc/*", "-not", "-path", "/sys/*", check=False
        ).splitlines()
        self.assertEqual(left, [])
        self.assertEqual(self.container.done("getent", "passwd", "longwire").returncode, 2)
        self.assertEqual(self.container.done("getent", "group", "longwire").returncode, 2)
        self.observe("files of its name after the purge:", len(left))
