"""A Debian with a systemd of its own, booted as a container: for what only a real systemd and a real dpkg can show.

Needs root, debootstrap, systemd-nspawn, nsenter. The root is built once, below the target directory, and copied for each
run. Used by `test_systemd.py` and `test_package.py`, which `scripts/test-systemd` and `scripts/test-package` run."""

import asyncio
import atexit
import base64
import contextlib
import ctypes
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import websockets

PROJECT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
CACHE = TARGET / "container"
# How long anything may take that must happen. Generous: only a failure uses it up.
PATIENCE_S = 60
BOOT_PATIENCE_S = 180
SUITE = "bookworm"
PACKAGES = "systemd,dbus"
SECRET = "a secret of the container's tests, longer than thirty-two bytes"

CONFIG = """
[server]
listen = ["0.0.0.0:9040"]
node = "contained"
reactors = 2

[[auth.keys]]
algorithm = "HS256"
secret = "{secret}"

[timeouts]
drain = "1s"

{more}
"""


def config(more: str = "") -> str:
    return CONFIG.format(secret=SECRET, more=more)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(user: str) -> str:
    """An HS256 token, good for an hour."""
    claims = {"sub": user, "exp": int(time.time()) + 3600}
    signed = ".".join(_base64url(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims))
    return signed + "." + _base64url(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())


def wait_for(what: str, probe, patience_s: float = PATIENCE_S):
    """Asks again and again until the answer is true."""
    deadline = time.monotonic() + patience_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain for: {what}")
        time.sleep(0.05)


def base() -> pathlib.Path:
    """A root with systemd in it, built where there is none yet."""
    root = CACHE / f"{SUITE}-base"
    if not root.exists():
        building = CACHE / f"{SUITE}-building-{os.getpid()}"
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"building {root} with debootstrap, once", file=sys.stderr)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, building]
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
            building.rename(root)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return root


class Container:
    """Booted on a copy of `base()`; `close` powers it off and takes the copy away, unless KEEP is set."""

    def __init__(self, prepare=lambda root: None):
        self.name = f"longwire-test-{os.getpid()}"
        self.root = CACHE / self.name
        subprocess.run(["cp", "-a", "--reflink=auto", base(), self.root], check=True)
        self.process = None
        self.init = None
        # Also where the tests are interrupted. The second call finds nothing to do.
        atexit.register(self.close)
        try:
            prepare(self.root)
            self._boot()
        except BaseException:
            self.close(keep=False)
            raise

    def _boot(self):
        command = ["systemd-nspawn", "-D", self.root, "--private-network", "--register=no", "--keep-unit"]
        command += ["-M", self.name, "--console=pipe", "-b"]
        # The host's control groups as they are: where PID 1 is no systemd, nobody has made a unified hierarchy.
        environment = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"}
        with open(f"{self.root}.console", "wb") as console:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=environment
            )
        self.init = wait_for("the container's init", self._find_init)
        states = ("running", "degraded")
        wait_for("systemd to have started", lambda: self.run("systemctl", "is-system-running", check=False) in states,
                 BOOT_PATIENCE_S)

    def _find_init(self):
        """The child of systemd-nspawn that is number 1 in a namespace of its own, once it is systemd itself."""
        if self.process.poll() is not None:
            console = pathlib.Path(f"{self.root}.console").read_text(errors="replace")
            raise AssertionError(f"systemd-nspawn ended: {console[-2000:]}")
        for pid in self._children(self.process.pid):
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
                if len(numbers) > 1 and numbers[-1] == "1" and status.startswith("Name:\tsystemd\n"):
                    return pid
        return None

    @staticmethod
    def _children(pid):
        with contextlib.suppress(OSError):
            return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return []

    def _enter(self, *command):
        return ["nsenter", "-t", self.init, "-m", "-u", "-i", "-n", "-p", "-C", "--", *command]

    def run(self, *command, check=True, stdin=None) -> str:
        """Runs a command in the container: what it says on standard output, stripped."""
        done = self.done(*command, stdin=stdin)
        if check and done.returncode != 0:
            raise AssertionError(f"{command} exits with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def done(self, *command, stdin=None) -> subprocess.CompletedProcess:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.run(
            self._enter(*command), input=stdin or "", capture_output=True, text=True, timeout=BOOT_PATIENCE_S, env=environment
        )

    def start(self, *command) -> subprocess.Popen:
        """The same without waiting for its end."""
        return subprocess.Popen(self._enter(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def path(self, path: str) -> pathlib.Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str):
        """Over what is there, so that owner and mode stay."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def show(self, what: str, unit: str = "longwire.service") -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", unit, "-P", what)

    def journal(self, unit: str = "longwire.service") -> list:
        """What the unit has logged, one dictionary an entry."""
        self.run("journalctl", "--sync", check=False)
        lines = self.run("journalctl", f"_SYSTEMD_UNIT={unit}", "+", f"UNIT={unit}", "-o", "json", "--all")
        return [json.loads(line) for line in lines.splitlines() if line.startswith("{")]

    def host_pid(self, pid: str) -> int:
        """What the host calls the container's process."""
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError, StopIteration):
                if entry.name.isdigit():
                    line = next(l for l in (entry / "status").read_text().splitlines() if l.startswith("NSpid:"))
                    same = os.readlink(entry / "ns/pid") == os.readlink(f"/proc/{self.init}/ns/pid")
                    if line.split()[-1] == pid and same:
                        return int(entry.name)
        raise AssertionError(f"no process {pid} in the container")

    @contextlib.contextmanager
    def network(self):
        """Within it, new sockets of this thread are the container's."""
        with open("/proc/thread-self/ns/net") as here, open(f"/proc/{self.init}/ns/net") as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(here.fileno())

    def close(self, keep=None):
        keep = bool(os.environ.get("KEEP")) if keep is None else keep
        running = self.process is not None and self.process.poll() is None
        if keep and running:
            atexit.unregister(self.close)
            print(f"kept: enter it with `nsenter -t {self.init} -a`, end it with `systemctl poweroff` in there, "
                  f"then remove {self.root}", file=sys.stderr)
            return
        if running and self.init:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                self.run("systemctl", "poweroff", check=False)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                # Its init, not systemd-nspawn: that would leave the container behind without a parent.
                os.kill(int(self.init), signal.SIGKILL)
                self.process.wait(PATIENCE_S)
        elif running:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
        shutil.rmtree(self.root, ignore_errors=True)
        pathlib.Path(f"{self.root}.console").unlink(missing_ok=True)


def _setns(descriptor: int):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


def patiently(awaitable):
    return asyncio.wait_for(awaitable, PATIENCE_S)


async def open_client(container: Container, port: int = 9040):
    """A WebSocket into the container."""
    with container.network():
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    stream.setblocking(False)
    try:
        await patiently(asyncio.get_running_loop().sock_connect(stream, ("127.0.0.1", port)))
        return await websockets.connect("ws://127.0.0.1/ws", sock=stream, open_timeout=PATIENCE_S, ping_interval=None)
    except BaseException:
        stream.close()
        raise


async def login(container: Container, user: str):
    client = await open_client(container)
    await log_in(client, user)
    return client


async def log_in(client, user: str):
    await client.send(json.dumps({"path": "connect", "id": 1, "token": token(user)}))
    reply = json.loads(await patiently(client.recv()))
    assert reply["status"] == 200, reply


async def closed(client):
    """Code and reason of the close that must come next."""
    try:
        message = await patiently(client.recv())
    except websockets.exceptions.ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
    raise AssertionError(f"a close was due, not {message!r}")
