"""Three nodes as a cluster, and nginx or HAProxy before them with the configuration that is shipped: a private copy in which
only addresses and paths are other ones, so that what is tried is what an operator gets.

Used by test_proxies.py (few clients) and scripts/test-nginx (10,000). Needs nothing but the standard library, openssl,
nats-server, and the proxy."""

import base64
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from gateway import PATIENCE_S, Gateway
from gateway import token as gateway_token

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
NATS_SERVER, NGINX, HAPROXY = (shutil.which(name, path=PATH) for name in ("nats-server", "nginx", "haproxy"))
# The nodes of the shipped configurations, each with its two addresses.
SHIPPED_NODES = [[f"10.0.0.{host}:{port}" for port in (9040, 9050)] for host in (11, 12, 13)]


def wait_until(what, condition, patience_s=PATIENCE_S):
    """The first true value of the condition."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s} s: {what}")
        time.sleep(0.05)
    return found


def free_port() -> int:
    """One below those that the kernel gives to connections: a node that is started again must find it free still."""
    for port in random.sample(range(10_000, 30_000), 1_000):
        with socket.socket() as holder:
            try:
                holder.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no free port")


def replaced(text: str, old: str, new: str) -> str:
    """Every `old` replaced. There must be one, or the shipped file is another than this module knows."""
    assert old in text, f"{old!r} is not in the shipped configuration any more"
    return text.replace(old, new)


def get(url: str):
    """Status, headers and text of a GET."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PATIENCE_S) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def end(process, patience_s=PATIENCE_S):
    """SIGTERM, then SIGKILL."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- the nodes ----------------------------------------------------------------------------------------------------


class Node:
    """One node, on the same addresses also when it is started again."""

    def __init__(self, name: str, listen: list[str], more: str):
        self.name, self.listen, self.more = name, listen, more
        self.api_port = free_port()
        self.start()

    def start(self):
        sets = [f"server.node={self.name}", f"server.listen={json.dumps(self.listen)}"]
        sets.append(f"api.listen=127.0.0.1:{self.api_port}")
        # The proxy comes from 127.0.0.1; whoever comes from another loopback address is a client.
        sets.append('server.trusted_proxies=["127.0.0.1/32", "unix"]')
        self.gateway = Gateway(self.more, sets)

    def metric(self, name: str) -> float:
        """The sum over all labels that begin so."""
        _, _, text = get(self.gateway.api + "/metrics")
        lines = [line for line in text.splitlines() if re.match(re.escape(name) + r"[ {,]", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def connections(self) -> int:
        return int(self.metric("longwire_connections"))

    def drain(self):
        self.gateway.request("POST", "/v1/drain")

    def ended(self):
        """The exit code in a list, or nothing while it runs."""
        code = self.gateway.process.poll()
        return None if code is None else [code]

    def kill(self):
        self.gateway.process.kill()
        self.gateway.process.wait()

    def restart(self):
        self.gateway.close()
        self.start()


class Cluster:
    """A nats-server and three nodes: two with two ports each, the third with two Unix sockets. A context manager."""

    def __init__(self, more: str = ""):
        self.directory = tempfile.TemporaryDirectory(prefix="longwire-proxies-")
        self.path = pathlib.Path(self.directory.name)
        self.path.chmod(0o755)  # the proxy's user reaches the Unix sockets
        self.nodes, self.nats = [], None
        try:
            self._start(more)
        except BaseException:
            self.close()
            raise

    def _start(self, more):
        command = [NATS_SERVER, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(self.path)]
        self.nats = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        ports = self.path / f"nats-server_{self.nats.pid}.ports"
        found = wait_until(
            "nats-server listens",
            lambda: ports.exists() and re.search(r'"(nats:[^"]*)"', ports.read_text()),
        )
        more = f'[nats]\nurl = ["{found.group(1)}"]\n{more}'
        for name in ("n1", "n2", "n3"):
            listen = [f"127.0.0.1:{free_port()}" for _ in "ab"]
            if name == "n3":
                listen = [f"unix:{self.path}/{name}-{which}.sock" for which in "ab"]
            self.nodes.append(Node(name, listen, more))

    def connections(self) -> list[int]:
        """Of each node; 0 of one that is away."""
        return [0 if node.ended() else node.connections() for node in self.nodes]

    def alive(self) -> Node:
        return next(node for node in self.nodes if not node.ended())

    def remotes(self, user: str) -> list[str]:
        """Whence the user's connections come, as the nodes see it."""
        _, found = self.alive().gateway.request("GET", f"/v1/users/{user}")
        return [connection["remote"] for connection in found["connections"]]

    def close(self):
        for node in self.nodes:
            node.gateway.close()
        if self.nats:
            end(self.nats)
        self.directory.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- the proxies --------------------------------------------------------------------------------------------------


def certificate(directory: pathlib.Path):
    """A self-signed one with its key, and both in one file as HAProxy wants it."""
    chain, key, both = (directory / name for name in ("fullchain.pem", "privkey.pem", "longwire.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=ws.example.com", "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    both.write_bytes(chain.read_bytes() + key.read_bytes())
    return chain, key, both


class Proxy:
    """A proxy that runs in the foreground, on ports of its own. A context manager that ends it."""

    command: list[str]

    def __init__(self, cluster: Cluster):
        self.directory = tempfile.TemporaryDirectory(prefix="longwire-proxies-")
        self.path = pathlib.Path(self.directory.name)
        self.path.chmod(0o755)
        self.plain, self.tls = free_port(), free_port()
        self.log = self.path / "error.log"
        self.chain, self.key, self.both = certificate(self.path)
        self.config = self.path / "proxy.conf"
        self.config.write_text(self.adapted(cluster))
        self.process = None

    def adapted(self, cluster: Cluster) -> str:
        raise NotImplementedError

    def check(self) -> subprocess.CompletedProcess:
        """What the proxy itself says of the configuration."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.plain}"

    def start(self):
        with open(self.path / "output", "wb") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=output)
        try:
            wait_until("the proxy listens", self._listens)
        except BaseException:
            self.close()
            raise
        return self

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError((self.path / "output").read_text())
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.plain)) == 0

    def close(self):
        if self.process:
            end(self.process)
        self.directory.cleanup()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()


class Nginx(Proxy):
    """nginx with nginx/longwire.conf."""

    def __init__(self, cluster: Cluster):
        super().__init__(cluster)
        self.command = [NGINX, "-c", str(self.config), "-g", "daemon off;"]

    def adapted(self, cluster):
        text = (ROOT / "nginx" / "longwire.conf").read_text()
        for shipped, node in zip(SHIPPED_NODES, cluster.nodes):
            for old, new in zip(shipped, node.listen):
                text = replaced(text, old, new)
        text = replaced(text, "listen 443 ", f"listen 127.0.0.1:{self.tls} ")
        text = replaced(text, "listen [::]:443 ", f"listen 127.0.0.2:{self.tls} ")
        text = replaced(text, "127.0.0.1:9042", self.address)
        text = replaced(text, "/etc/ssl/longwire/fullchain.pem", str(self.chain))
        text = replaced(text, "/etc/ssl/longwire/privkey.pem", str(self.key))
        text = replaced(text, "/run/nginx.pid", f"{self.path}/nginx.pid")
        text = replaced(text, "/var/log/nginx/error.log", str(self.log))
        # Where Debian's build keeps temporary files may be root's alone.
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"    {kind}_temp_path {self.path}/{kind};\n" for kind in kinds)
        return replaced(text, "http {\n", "http {\n" + temporary)

    def check(self):
        return subprocess.run([NGINX, "-t", "-c", str(self.config)], capture_output=True, text=True)

    def workers(self) -> dict[int, bool]:
        """The workers' process ids, and whether each is about to end."""
        found = {}
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split():
            try:
                title = pathlib.Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
            if title.startswith("nginx: worker process"):
                found[int(pid)] = "shutting down" in title
        return found

    def reload(self):
        """Returns when all of the old workers have heard of it."""
        old = {pid for pid, ends in self.workers().items() if not ends}
        self.process.send_signal(signal.SIGHUP)

        def done():
            workers = self.workers()
            fresh = [pid for pid, ends in workers.items() if not ends]
            return len(fresh) >= len(old) and old.isdisjoint(fresh)

        wait_until("nginx has reloaded", done)


class HAProxy(Proxy):
    """HAProxy with haproxy/longwire.cfg."""

    def __init__(self, cluster: Cluster):
        super().__init__(cluster)
        # The limit of descriptors may be too low here for the shipped maxconn.
        self.command = [HAPROXY, "-db", "-n", "4000", "-f", str(self.config)]

    def adapted(self, cluster):
        text = (ROOT / "haproxy" / "longwire.cfg").read_text()
        for shipped, node in zip(SHIPPED_NODES, cluster.nodes):
            for old, new in zip(shipped, node.listen):
                # A check of its own address, as the API is not on a Unix socket.
                new = new.replace("unix:", "unix@")  # as HAProxy writes it
                text = replaced(text, old, f"{new} addr 127.0.0.1 port {node.api_port}")
        text = replaced(text, "bind :443 ", f"bind 127.0.0.1:{self.tls} ")
        text = replaced(text, "bind [::]:443 v6only ", f"bind 127.0.0.2:{self.tls} ")
        text = replaced(text, "127.0.0.1:9042", self.address)
        text = replaced(text, "/etc/haproxy/longwire.pem", str(self.both))
        text = replaced(text, "/run/haproxy/admin.sock", f"{self.path}/admin.sock")
        # Inside of it there are none of the nodes' Unix sockets; and only root may.
        text = replaced(text, "chroot /var/lib/haproxy", "# no chroot here")
        if os.geteuid() != 0:
            text = replaced(replaced(text, "    user haproxy\n", ""), "    group haproxy\n", "")
        return text

    def check(self):
        return subprocess.run([HAPROXY, "-c", "-n", "4000", "-f", str(self.config)], capture_output=True, text=True)


# --- a client -----------------------------------------------------------------------------------------------------


class Client:
    """One WebSocket client, blocking, that logs in with a token of its user unless it is given one. `status` is the
    upgrade's, `reply` the login's."""

    def __init__(self, address, user: str, token=None, headers=(), source=None, context=None, session=None):
        host, port = address.rsplit(":", 1)
        bound = (source, 0) if source else None
        self.socket = socket.create_connection((host, int(port)), PATIENCE_S, source_address=bound)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="ws.example.com", session=session)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines = ["GET /ws HTTP/1.1", "Host: ws.example.com", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.head = b"".join(iter(self.file.readline, b"\r\n")).decode()
        if self.status != 101:
            self.close()
            return
        self.send({"path": "connect", "id": 1, "token": token or gateway_token(user)})
        self.reply = self.receive()

    def send(self, message):
        payload = json.dumps(message).encode()
        size = len(payload)
        length = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0x80 | 126, size)
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self.socket.sendall(length + mask + masked)

    def receive(self):
        """The next text; pings are passed over."""
        while True:
            first, length = self.file.read(2)
            if length == 126:
                (length,) = struct.unpack("!H", self.file.read(2))
            payload = self.file.read(length)
            if first & 0x0F == 1:
                return json.loads(payload)

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
