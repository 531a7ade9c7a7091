"""Servers to test against: Coucou, and Debian's Prosody and ejabberd to test the tests."""

import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOMAIN = "localhost"
# The name of the account that may use the commands of administrators.
ADMIN = "u59"
PASSWORD = "secret"
START_SECONDS_MAX = 60


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Server:
    """A server process with accounts u0 … u(N-1), all with the password PASSWORD."""

    kind: str
    port: int
    tls_port: int
    # What this server is known for, which the tests take into account.
    resumes_after_crash = False
    has_pep = True
    registers = False

    def start(self) -> None:
        """Starts it, for the first time or again on the same data; returns when it accepts clients."""
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL: the server has no chance to tidy up."""
        raise NotImplementedError

    def stop(self) -> None:
        """Asks it to stop, and waits."""
        raise NotImplementedError

    def remove(self) -> None:
        """Stops it and removes its data."""
        raise NotImplementedError

    def databases(self) -> list[pathlib.Path]:
        raise NotImplementedError

    def integrity_faults(self) -> list[str]:
        """What SQLite finds wrong in the files of the stopped server."""
        faults = []
        for path in self.databases():
            with contextlib.closing(sqlite3.connect(path)) as database:
                rows = database.execute("PRAGMA integrity_check").fetchall()
                rows += database.execute("PRAGMA foreign_key_check").fetchall()
            faults += [f"{path.name}: {row}" for row in rows if row != ("ok",)]
        return faults

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.remove()


class Coucou(Server):
    kind = "coucou"
    resumes_after_crash = True
    # Until the PubSub service is there.
    has_pep = False
    registers = True

    def __init__(self, users: int) -> None:
        self.binary = os.environ.get("COUCOU", str(ROOT / "target/debug/coucou"))
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="coucou-interop-"))
        self.port, self.tls_port = free_ports(2)
        self.users = users
        self.process: subprocess.Popen | None = None
        self.config = self.directory / "coucou.toml"
        # A small work factor: Python's own SCRAM is slow.
        self.config.write_text(
            f'data_dir = "{self.directory}/data"\n'
            f'[listen]\nc2s = ["127.0.0.1:{self.port}"]\nc2s_tls = ["127.0.0.1:{self.tls_port}"]\n'
            f'[acl]\nadmin = {{ user = ["{ADMIN}@{DOMAIN}"] }}\n'
            f'[hosts."{DOMAIN}"]\nscram_iterations = 4096\n'
            f'[hosts."{DOMAIN}".registration]\naccess = "all"\n'
        )
        self.log = open(self.directory / "serve.log", "ab")

    def cli(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess:
        command = [self.binary, "--config", str(self.config), *arguments]
        return subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60)

    def add_account(self, jid: str) -> None:
        outcome = self.cli("account", "add", jid, "--password-stdin", typed=PASSWORD + "\n")
        if outcome.returncode:
            raise RuntimeError(f"account add {jid}: {outcome.stderr or outcome.stdout}")

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.binary, "serve", "--config", str(self.config)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not (accepts(self.port) and accepts(self.tls_port)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("coucou does not serve:\n" + (self.directory / "serve.log").read_text()[-2000:])
            time.sleep(0.02)
        while self.cli("status").returncode and time.monotonic() < deadline:
            # Clients are let in a moment before operators are.
            time.sleep(0.02)
        for number in range(self.users):
            self.add_account(f"u{number}@{DOMAIN}")
        self.users = 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)

    def remove(self) -> None:
        if self.process and self.process.poll() is None:
            self.stop()
        self.log.close()
        if os.environ.get("INTEROP_KEEP"):
            print(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory)

    def databases(self) -> list[pathlib.Path]:
        # Not every file is SQLite's: sled keeps its own.
        return [
            path for path in sorted((self.directory / "data").rglob("*"))
            if path.is_file() and path.open("rb").read(16) == b"SQLite format 3\0"
        ]


class Peer(Server):
    """Prosody or ejabberd, started by the scripts of the load comparison."""

    def __init__(self, kind: str, users: int) -> None:
        self.kind = kind
        self.script = str(ROOT / f"tests/load/peers/{kind}.sh")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{kind}-interop-")) / "data"
        self.port, self.tls_port = free_ports(2)
        self.users = users
        self.pid = 0
        self.started = False

    def run(self, action: str, *arguments: str) -> str:
        # The server inherits the script's output: a file, or reading it would wait for the server.
        with tempfile.TemporaryFile("w+") as output:
            command = [self.script, action, "--dir", str(self.directory), *arguments]
            outcome = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=120)
            output.seek(0)
            text = output.read()
        if outcome.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {text}")
        return text

    def start(self) -> None:
        if self.started:
            text = self.run("resume")
        else:
            text = self.run(
                "start", "--users", str(self.users), "--password", PASSWORD, "--domain", DOMAIN,
                "--port", str(self.port), "--tls-port", str(self.tls_port),
            )
        self.started = True
        self.pid = int(dict(line.split("=", 1) for line in text.splitlines())["PEER_PID"])

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        while accepts(self.port):
            time.sleep(0.01)

    def stop(self) -> None:
        self.run("halt")

    def remove(self) -> None:
        self.run("stop")
        self.directory.parent.rmdir()

    def databases(self) -> list[pathlib.Path]:
        return [self.directory / f"{self.kind}.sqlite"]


def make(kind: str, users: int) -> Server:
    return Coucou(users) if kind == "coucou" else Peer(kind, users)
