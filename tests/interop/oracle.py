#!/usr/bin/env python3
"""Asks Debian's ejabberd and Coucou the same questions about access, and compares the answers.

The rules are tests/worlds/oracle/ejabberd.yml: ejabberd runs with them, Coucou with what `coucou
import` makes of them. Each line of cases.txt (a host, a user, an address) is asked of each rule; then
accounts are registered in-band at both. Names are compared as PRECIS has them here and as
stringprep has them there, so no case has a name in which the two differ (ß). ejabberd's verdicts stand in cases.txt, where `cargo test`
holds Coucou's decisions to them; here it is seen that they are still ejabberd's.

usage: oracle.py [--record]
       --record writes ejabberd's verdicts into cases.txt
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from servers import ROOT, free_ports

WORLD = ROOT / "tests/worlds/oracle"
HERE = pathlib.Path(__file__).resolve().parent
SECONDS_MAX = 60
LETTERS = {"allow": "a", "deny": "d"}
# Asked of the program itself.
DECISIONS = 220
PASSWORD = "Vb7-quartz-Lemur-91-Fjord"


def rule_names() -> list[str]:
    text = (WORLD / "ejabberd.yml").read_text()
    section = text.split("\naccess_rules:\n")[1].split("\n\n")[0]
    return re.findall(r"^  (\w+):", section, re.MULTILINE)


def cases() -> list[tuple[str, str, str, str]]:
    """Host, user, address and the verdicts on record."""
    lines = [line.split() for line in (WORLD / "cases.txt").read_text().splitlines()]
    return [(*(line + [""])[:4],) for line in lines if line and line[0] != "#"]


def record(verdicts: list[str]) -> None:
    path = WORLD / "cases.txt"
    answers = iter(verdicts)
    lines = []
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            line = " ".join([*line.split()[:3], next(answers)])
        lines.append(line)
    path.write_text("\n".join(lines) + "\n")


def wait_until(what: str, condition) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Ejabberd:
    """Debian's ejabberd, unprivileged, on loopback, in a nameless Erlang machine."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        (self.port,) = free_ports(1)
        rules = (WORLD / "ejabberd.yml").read_text().replace("PORT", str(self.port))
        (directory / "ejabberd.yml").write_text(f"loglevel: warning\nauth_password_format: scram\n{rules}")
        self.process: subprocess.Popen | None = None

    def ask(self, questions: list[str]) -> list[str]:
        (self.directory / "questions").write_text("\n".join(questions) + "\n")
        environment = os.environ | {
            "COUCOU_ORACLE": str(self.directory),
            "EJABBERD_CONFIG_PATH": str(self.directory / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.directory / "ejabberd.log"),
            "ERL_CRASH_DUMP": str(self.directory / "erl_crash.dump"),
            "ERL_LIBS": "/usr/lib/x86_64-linux-gnu",
            "HOME": str(self.directory),
        }
        script = f'case file:eval("{HERE}/oracle.erl") of ok -> ok; Error -> io:format("~p~n", [Error]), halt(1) end.'
        command = [
            "erl", "+K", "true", "-noinput", "-mnesia", "dir", f'"{self.directory}/mnesia"',
            "-s", "ejabberd", "-eval", script,
        ]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL,
            stdout=open(self.directory / "ejabberd.out", "wb"), stderr=subprocess.STDOUT, start_new_session=True,
        )

        def answered() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"ejabberd ended: {(self.directory / 'ejabberd.out').read_text()}")
            return (self.directory / "answers").exists()

        wait_until("ejabberd's answers", answered)
        wait_until("ejabberd's listener", lambda: accepts(self.port))
        return (self.directory / "answers").read_text().split()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def askable(rule: str, host: str, user: str) -> bool:
    """Not where ejabberd 23.01 is known to be wrong.

    Asked whether nobody is in a shared group, it never comes back. A group without a host it seeks on
    the host that asks; later versions, and Coucou, on the user's own.
    """
    if "staff" in rule and user == "-":
        return False
    return not (rule == "acl_staff" and user.split("/")[0].split("@")[-1].lower() != host)


class Coucou:
    """The server under test, with what it imports of the same rules."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.binary = os.environ.get("COUCOU", str(ROOT / "target/debug/coucou"))
        self.directory = directory
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen | None = None

    def cli(self, *arguments: str, typed: str = "") -> str:
        command = [self.binary, "--dir", str(self.directory), *arguments]
        outcome = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=SECONDS_MAX)
        if outcome.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {outcome.stderr or outcome.stdout}")
        return outcome.stdout

    def start(self) -> None:
        rules = (WORLD / "ejabberd.yml").read_text().replace("PORT", str(self.port))
        (self.directory / "ejabberd.yml").write_text(rules)
        self.cli("import", str(self.directory / "ejabberd.yml"))
        config = self.directory / "coucou.toml"
        config.write_text(f'data_dir = "."\n{config.read_text()}')
        self.process = subprocess.Popen(
            [self.binary, "serve", "--config", str(config)], stdin=subprocess.DEVNULL,
            stdout=open(self.directory / "serve.out", "wb"), stderr=subprocess.STDOUT,
        )
        wait_until("Coucou's listener", lambda: accepts(self.port))

    def decide(self, rule: str, host: str, user: str, ip: str) -> str:
        asked = ["access", "test", rule, "--host", host, "--json"]
        bare, _, resource = user.partition("/")
        asked += ["--user", bare] if user != "-" else []
        asked += ["--resource", resource] if resource else []
        asked += ["--ip", ip] if ip != "-" else []
        return "a" if json.loads(self.cli(*asked))["allowed"] else "d"

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(SECONDS_MAX)


class Stream:
    """One connection before sign-in, as far as registering takes it."""

    def __init__(self, port: int, source: str, host: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
        self.host = host
        if "urn:ietf:params:xml:ns:xmpp-tls" in self.open():
            self.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "proceed")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
            self.open()

    def open(self) -> str:
        return self.say(
            f"<stream:stream to='{self.host}' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>",
            "</stream:features>",
        )

    def say(self, xml: str, until: str) -> str:
        self.socket.sendall(xml.encode())
        heard = b""
        while until not in heard.decode(errors="replace"):
            more = self.socket.recv(4096)
            if not more:
                raise RuntimeError(f"the stream ended: {heard!r}")
            heard += more
        return heard.decode()

    def register(self, name: str) -> str:
        """`registered`, or the condition of the refusal."""
        answer = self.say(
            "<iq type='set' id='r1'><query xmlns='jabber:iq:register'>"
            f"<username>{name}</username><password>{PASSWORD}</password></query></iq>",
            "r1",
        )
        while not re.search(r"</iq>|<iq[^>]*/>", answer):
            answer += self.socket.recv(4096).decode()
        self.socket.close()
        condition = re.search(r"<([a-z-]+) xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'", answer.replace('"', "'"))
        return condition[1] if condition else "registered"


def registrations() -> list[tuple[str, str, str]]:
    """Where from, on which host, under which name; in this order, so that a name can be taken."""
    names = ["zelda", "zelda", "Zelda", "camail", "technicienne", "rootless", "beetroot", "bot-9", "my-bot-9",
             "a.b-c_d", "with space", "\u00e9tienne", "\u0434\u0438\u043c\u0430"]
    near, far = "127.1.2.3", "127.200.1.1"
    return [
        *((near, "geocoucou.im", name) for name in names),
        *((far, "geocoucou.im", name) for name in ["zoraide", "camail"]),
        *((near, "public.geocoucou.im", name) for name in ["zelda", "abuser"]),
    ]


class Tally:
    def __init__(self) -> None:
        self.passed = self.failed = 0

    def check(self, what: str, ours: object, theirs: object) -> None:
        if ours == theirs:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL {what}: {ours}, and ejabberd says {theirs}")


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--record", action="store_true")
    options = arguments.parse_args()
    tally = Tally()
    rules, asked = rule_names(), cases()
    with tempfile.TemporaryDirectory(prefix="coucou-oracle-") as folder:
        ejabberd = Ejabberd(pathlib.Path(folder))
        try:
            pairs = [(case, rule) for case in asked for rule in rules]
            questions = [f"{rule} {host} {user} {ip}" for (host, user, ip, _), rule in pairs if askable(rule, host, user)]
            answers = iter(ejabberd.ask(questions))
            verdicts = [
                "".join(LETTERS[next(answers)] if askable(rule, *case[:2]) else "-" for rule in rules) for case in asked
            ]
            if options.record:
                record(verdicts)
                print(f"recorded {len(questions)} verdicts")
                return 0
            for (host, user, ip, known), verdict in zip(asked, verdicts):
                for rule, ours, theirs in zip(rules, known.ljust(len(rules), "?"), verdict):
                    tally.check(f"on record: {rule} for {user} from {ip} on {host}", ours, theirs)
            theirs = [Stream(ejabberd.port, source, host).register(name) for source, host, name in registrations()]
        finally:
            ejabberd.stop()
    with tempfile.TemporaryDirectory(prefix="coucou-oracle-") as folder:
        coucou = Coucou(pathlib.Path(folder))
        try:
            coucou.start()
            # `cargo test` asks all; here the program itself is asked every so many.
            every = [
                (rule, host, user, ip, verdict)
                for (host, user, ip, _), answers in zip(asked, verdicts)
                for rule, verdict in zip(rules, answers)
                # Groups are asked by `cargo test`; a bare name is a user's for the command.
                if verdict != "-" and "staff" not in rule and ("@" in user or user == "-")
            ]
            sample = every[:: len(every) // DECISIONS]
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                decided = pool.map(lambda one: coucou.decide(*one[:4]), sample)
                for (rule, host, user, ip, verdict), ours in zip(sample, decided):
                    tally.check(f"{rule} for {user} from {ip} on {host}", ours, verdict)
            for (source, host, name), verdict in zip(registrations(), theirs):
                ours = Stream(coucou.port, source, host).register(name)
                tally.check(f"registering {name} on {host} from {source}", ours, verdict)
            print(f"{len(questions)} verdicts on record, {len(sample)} decisions, {len(theirs)} registrations")
        finally:
            coucou.stop()
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
