"""longwire as a service of a real systemd: what `systemd/` promises, observed. Run by `scripts/test-systemd`."""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import pathlib
import re
import shutil
import signal
import subprocess
import unittest

import websockets

from container import (
    PATIENCE_S, PROJECT, SECRET, TARGET, Container, closed, config, log_in, login, open_client, patiently, token, wait_for,
)

BINARY = os.environ.get("LONGWIRE_BIN", str(TARGET / "debug/longwire"))
DROP_IN = "/etc/systemd/system/longwire.service.d/test.conf"
EXPOSURE_MAX = 1.5
# unittest runs loops in debug mode, in which asyncio remarks on every call of a command.
logging.getLogger("asyncio").setLevel(logging.ERROR)


def install(root):
    command = ["make", "-s", "-C", PROJECT, "install", "PREFIX=/usr", f"DESTDIR={root}", f"BINARY={BINARY}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Hung:
    """One thread of a process, held by ptrace until the process ends: a thread that hangs, and the others do not."""

    SEIZE, INTERRUPT, DETACH, ANY_CHILD = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, thread: int):
        self.thread = thread
        self._ptrace(self.SEIZE)
        self._ptrace(self.INTERRUPT)
        os.waitpid(thread, self.ANY_CHILD)

    def _ptrace(self, request):
        libc = ctypes.CDLL(None, use_errno=True)
        arguments = [ctypes.c_long(n) for n in (request, self.thread, 0, 0)]
        if libc.ptrace(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def let_end(self):
        """A process that was killed is gone only when whoever holds its thread has seen it end."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.thread, self.ANY_CHILD | os.WNOHANG)

    def close(self):
        with contextlib.suppress(OSError):
            self._ptrace(self.DETACH)


class Service(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.container = Container(install)
        cls.addClassCleanup(cls.container.close)
        cls.run_in("systemd-sysusers", "longwire.conf")
        cls.run_in("chgrp", "longwire", "/etc/longwire", "/etc/longwire/longwire.toml")

    @classmethod
    def run_in(cls, *command, **options):
        return cls.container.run(*command, **options)

    def setUp(self):
        self.configure("")
        self.addCleanup(self.reset)

    def reset(self):
        self.run_in("systemctl", "stop", "longwire.socket", "longwire.service", check=False)
        shutil.rmtree(self.container.path(DROP_IN).parent, ignore_errors=True)
        self.run_in("systemctl", "daemon-reload")
        self.run_in("systemctl", "reset-failed", check=False)
        self.run_in("journalctl", "--rotate")
        self.run_in("journalctl", "--vacuum-time=1us")

    def configure(self, more):
        self.container.write("/etc/longwire/longwire.toml", config(more))

    def drop_in(self, text):
        self.container.write(DROP_IN, "[Service]\n" + text)
        self.run_in("systemctl", "daemon-reload")

    def start(self):
        self.run_in("systemctl", "start", "longwire.service")

    def show(self, what):
        return self.container.show(what)

    def wait_until(self, what, condition):
        wait_for(what, condition)

    def logged(self, words):
        return any(words in str(entry.get("MESSAGE")) for entry in self.container.journal())

    def observe(self, *facts):
        """Into the transcript."""
        print("   ", *facts, flush=True)

    async def login(self, user="u"):
        client = await login(self.container, user)
        self.addAsyncCleanup(client.close)
        return client

    # -- starting and stopping ---------------------------------------------------------------------------------------

    async def test_active_means_that_clients_are_accepted(self):
        self.start()
        client = await self.login()
        self.assertEqual(self.show("ActiveState"), "active")
        await patiently(client.ping())
        self.wait_until("the status to count the client", lambda: self.show("StatusText") == "serving, 1 connections")
        self.observe("StatusText:", self.show("StatusText"))

    async def test_a_start_that_cannot_serve_is_never_active_and_mends_itself_with_the_configuration(self):
        self.configure("[limits]\nmessage_bytes = 1")
        started = self.container.done("systemctl", "start", "longwire.service")
        self.assertNotEqual(started.returncode, 0)
        self.assertEqual(self.show("ActiveState"), "activating", "it waits for the next try")
        self.assertEqual(self.show("ExecMainStatus"), "2")
        self.assertTrue(self.logged("longwire.toml:"), "the journal has the line at fault")
        self.configure("")
        self.wait_until("the next try to succeed", lambda: self.show("ActiveState") == "active")
        self.observe("wrong configuration: exit 2, tried again every 2 s; active after", self.show("NRestarts"), "restarts")
        await self.login()

    def test_without_its_configuration_it_does_not_start(self):
        self.container.path("/etc/longwire/longwire.toml").rename(self.container.path("/etc/longwire/away"))
        try:
            self.assertNotEqual(self.container.done("systemctl", "start", "longwire.service").returncode, 0)
            self.assertEqual(self.show("ExecMainStatus"), "2")
        finally:
            self.container.path("/etc/longwire/away").rename(self.container.path("/etc/longwire/longwire.toml"))

    async def test_stop_drains_and_exits_with_0(self):
        self.start()
        clients = [await self.login(f"u{n}") for n in range(10)]
        stop = self.container.start("systemctl", "stop", "longwire.service")
        closes = [await closed(client) for client in clients]
        self.assertTrue(all(code == 1012 and reason.startswith("retry_ms=") for code, reason in closes), closes)
        await asyncio.to_thread(stop.wait, PATIENCE_S)
        self.assertEqual((self.show("Result"), self.show("ExecMainStatus")), ("success", "0"))
        self.assertEqual(self.show("ActiveState"), "inactive")
        self.observe("10 clients closed with 1012; Result=success, ExecMainStatus=0")

    async def test_a_drain_longer_than_the_stop_time_out_is_not_cut_short(self):
        self.container.write("/etc/longwire/longwire.toml", config("").replace('drain = "1s"', 'drain = "6s"'))
        self.drop_in("TimeoutStopSec=2s\nWatchdogSec=3s\n")
        self.start()
        clients = [await self.login(f"u{n}") for n in range(40)]
        stop = self.container.start("systemctl", "stop", "longwire.service")
        closes = await asyncio.gather(*(closed(client) for client in clients))
        self.assertEqual({code for code, _ in closes}, {1012})
        await asyncio.to_thread(stop.wait, PATIENCE_S)
        self.assertEqual(self.show("Result"), "success")
        self.observe("drain 6s, TimeoutStopSec=2s: all 40 closed with 1012, Result=success")

    # -- reloading ---------------------------------------------------------------------------------------------------

    async def test_reload_changes_what_can_change_and_disconnects_nobody(self):
        self.start()
        client, pid = await self.login(), self.show("MainPID")
        self.configure('[log]\nlevel = "debug"')
        self.run_in("systemctl", "reload", "longwire.service")
        self.wait_until("the reload", lambda: self.logged("reloaded"))
        await patiently(await client.ping())
        self.assertEqual((self.show("MainPID"), self.show("ActiveState")), (pid, "active"))
        changed = [entry["F_CHANGED"] for entry in self.container.journal() if "F_CHANGED" in entry]
        self.observe("reloaded, F_CHANGED:", *changed)
        self.assertEqual(changed, ["log.level"])

    async def test_a_wrong_reload_fails_loudly_and_changes_nothing(self):
        self.start()
        client = await self.login()
        self.configure("[limits]\nmessage_bytes = 1")
        reload = self.container.done("systemctl", "reload", "longwire.service")
        self.assertNotEqual(reload.returncode, 0)
        self.assertTrue(self.logged("longwire.toml:"))
        await patiently(await client.ping())
        self.assertEqual(self.show("ActiveState"), "active")
        self.observe("reload of a wrong file: systemctl exits with", reload.returncode, "and the service goes on")

    # -- the watchdog ------------------------------------------------------------------------------------------------

    async def test_a_hung_reactor_is_restarted(self):
        self.drop_in("WatchdogSec=3s\n")
        self.start()
        pid = self.show("MainPID")
        tasks = pathlib.Path(f"/proc/{self.container.host_pid(pid)}/task")
        reactors = [int(task.name) for task in tasks.iterdir() if (task / "comm").read_text() == "reactor-1\n"]
        hung = Hung(reactors[0])

        def another_runs():
            hung.let_end()
            return self.show("MainPID") not in (pid, "0")

        try:
            self.wait_until("the watchdog to end it", another_runs)
        finally:
            hung.close()
        self.assertTrue(self.logged("a reactor does not turn"))
        self.assertTrue(self.logged("Watchdog timeout"))
        self.assertEqual(self.show("NRestarts"), "1")
        self.wait_until("it to be active again", lambda: self.show("ActiveState") == "active")
        await self.login()
        for entry in self.container.journal():
            if re.search("does not turn|Watchdog|watchdog|Scheduled restart", str(entry["MESSAGE"])):
                self.observe(entry["MESSAGE"])

    async def test_a_process_that_is_stopped_as_a_whole_is_restarted(self):
        self.drop_in("WatchdogSec=3s\n")
        self.start()
        pid = self.show("MainPID")
        os.kill(self.container.host_pid(pid), signal.SIGSTOP)
        self.wait_until("the watchdog to end it", lambda: self.show("MainPID") not in (pid, "0"))
        self.wait_until("it to be active again", lambda: self.show("ActiveState") == "active")
        await self.login()

    async def test_a_crash_is_mended(self):
        self.start()
        pid = self.show("MainPID")
        self.run_in("systemctl", "kill", "-s", "KILL", "longwire.service")
        self.wait_until("it to be back", lambda: self.show("MainPID") not in (pid, "0"))
        self.wait_until("it to be active", lambda: self.show("ActiveState") == "active")
        await self.login()

    # -- socket activation -------------------------------------------------------------------------------------------

    async def test_the_first_client_starts_the_service(self):
        self.run_in("systemctl", "start", "longwire.socket")
        self.assertEqual(self.show("ActiveState"), "inactive")
        await self.login()
        self.assertEqual(self.show("ActiveState"), "active")

    async def test_no_connect_is_refused_over_a_restart(self):
        self.run_in("systemctl", "start", "longwire.socket", "longwire.service")
        for n in range(20):
            await self.login(f"before{n}")
        pid, tally = self.show("MainPID"), {"served": 0, "told to come back (503)": 0, "cut off by the end": 0}
        restart = self.container.start("systemctl", "restart", "longwire.service")
        over = False
        while not over:
            over = restart.poll() is not None
            # A connect that is refused raises here, and fails the test.
            try:
                client = await open_client(self.container)
                await log_in(client, "u")
                await client.close()
                tally["served"] += 1
            except websockets.exceptions.InvalidStatusCode as refused:
                self.assertEqual(refused.status_code, 503)
                tally["told to come back (503)"] += 1
            except websockets.exceptions.ConnectionClosed as gone:
                self.assertEqual(gone.rcvd.code, 1012)
                tally["cut off by the end"] += 1
            except websockets.exceptions.InvalidMessage:
                # Accepted, and the drain was over before the request was there.
                tally["cut off by the end"] += 1
        self.assertEqual(restart.returncode, 0)
        self.assertNotEqual(self.show("MainPID"), pid)
        self.assertGreater(tally["served"], 0)
        self.observe("connects over a restart:", tally, "refused: 0")

    async def test_who_connects_while_nothing_runs_is_served_when_it_is_back(self):
        self.run_in("systemctl", "start", "longwire.socket", "longwire.service")
        self.configure("[limits]\nmessage_bytes = 1")
        self.run_in("systemctl", "restart", "longwire.service", check=False)
        self.assertEqual(self.show("ExecMainStatus"), "2", "nothing runs")
        waiting = [asyncio.create_task(self.login(f"u{n}")) for n in range(20)]
        restarts = self.show("NRestarts")
        await asyncio.to_thread(
            self.wait_until, "another try to fail while clients wait", lambda: self.show("NRestarts") != restarts
        )
        self.assertEqual(self.container.show("ActiveState", "longwire.socket"), "active")
        self.assertFalse(any(task.done() for task in waiting))
        self.configure("")
        await asyncio.gather(*waiting)
        self.observe("20 clients connected while nothing ran, and were served by the next process")

    async def test_a_socket_that_the_configuration_does_not_name_is_said(self):
        self.container.write("/etc/longwire/longwire.toml", config("").replace("9040", "9050"))
        self.run_in("systemctl", "start", "longwire.socket")
        self.assertNotEqual(self.container.done("systemctl", "start", "longwire.service").returncode, 0)
        self.assertTrue(self.logged("listens on 0.0.0.0:9040"))

    # -- hardening and logs ------------------------------------------------------------------------------------------

    def test_the_units_are_right(self):
        done = self.container.done("systemd-analyze", "verify", "--man=no", "longwire.service", "longwire.socket")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        line = self.run_in("systemd-analyze", "security", "--no-pager", "longwire.service").splitlines()[-1]
        self.observe(line)
        self.assertLessEqual(float(re.search(r"service: ([\d.]+)", line)[1]), EXPOSURE_MAX)

    def test_the_examples_are_right(self):
        examples = sorted(self.container.path("/usr/share/doc/longwire/examples/longwire.service.d").iterdir())
        self.assertTrue(examples)
        for example in examples:
            if example.name.startswith("notify-reload") and self.version() < 253:
                continue
            self.container.write(DROP_IN, example.read_text())
            self.run_in("systemctl", "daemon-reload")
            done = self.container.done("systemd-analyze", "verify", "--man=no", "longwire.service")
            self.assertEqual((done.returncode, done.stderr), (0, ""), example.name)

    def version(self):
        return int(self.run_in("systemctl", "--version").split()[1])

    async def test_the_environment_of_a_host(self):
        example = self.container.path("/usr/share/doc/longwire/examples/longwire.service.d/environment.conf.example")
        self.container.write(DROP_IN, example.read_text())
        self.run_in("systemctl", "daemon-reload")
        self.container.write("/etc/longwire-secret", SECRET)
        self.container.path("/etc/longwire-secret").chmod(0o600)
        text = config("").replace(f'secret = "{SECRET}"', 'secret_file = "/run/credentials/longwire.service/secret"')
        self.container.write("/etc/longwire/longwire.toml", text)
        self.container.write("/etc/default/longwire", "LONGWIRE_TIMEOUTS__PING=7s\n")
        self.addCleanup(lambda: self.container.write("/etc/default/longwire", ""))
        self.start()
        client = await open_client(self.container)
        self.addAsyncCleanup(client.close)
        await client.send(json.dumps({"path": "connect", "id": 1, "token": token("u")}))
        body = json.loads(await patiently(client.recv()))["body"]
        self.assertEqual((body["node"], body["ping_ms"]), ("ws-1", 7000))

    async def test_the_hardening_is_in_force(self):
        self.drop_in(
            'ExecStartPre=-/bin/sh -c "unshare -U true || echo no namespaces; chrt -f 1 true || echo no real time; '
            "touch /etc/x /usr/x || echo nothing to write; ls /home/* || echo no homes; "
            'chown 0 /var/lib/longwire || echo no chown; test -e /proc/1/status || echo no other processes"\n'
        )
        self.start()
        pid = self.show("MainPID")
        for words in ("no namespaces", "no real time", "nothing to write", "no homes", "no chown", "no other processes"):
            self.wait_until(words, lambda words=words: self.logged(words))
        status = dict(line.split(":\t", 1) for line in self.run_in("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line)
        user = self.run_in("id", "-u", "longwire")
        self.assertEqual(status["Uid"].split(), [user] * 4)
        self.assertEqual({int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")}, {0})
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        # Shown and not held: whether these can be set is the host's to say, of which this is a container.
        self.observe("oom_score_adj", self.run_in("cat", f"/proc/{pid}/oom_score_adj"))
        limits = self.run_in("cat", f"/proc/{pid}/limits")
        self.observe(*(f"{name}={status[name]}" for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")))
        self.observe(next(line for line in limits.splitlines() if "open files" in line))
        # Let through on purpose: each reactor on a core of its own, where there is one for each.
        tasks = pathlib.Path(f"/proc/{self.container.host_pid(pid)}/task")
        cores = len(os.sched_getaffinity(0))
        for task in tasks.iterdir():
            if (task / "comm").read_text().startswith("reactor-"):
                self.assertEqual(len(os.sched_getaffinity(int(task.name))), 1 if cores == 2 else cores)
        await self.login()

    async def test_the_journal_has_fields(self):
        self.start()
        await self.login()
        serving = next(entry for entry in self.container.journal() if entry["MESSAGE"] == "serving")
        self.observe({name: serving.get(name) for name in ("PRIORITY", "SYSLOG_IDENTIFIER", "TARGET", "F_NODE", "F_REACTORS")})
        self.assertEqual((serving["SYSLOG_IDENTIFIER"], serving["F_NODE"]), ("longwire", "contained"))
        self.assertEqual(serving["_SYSTEMD_UNIT"], "longwire.service")
        self.assertTrue(serving["TARGET"].startswith("longwire::"))
