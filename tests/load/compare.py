#!/usr/bin/env python3
"""The runs and the table of compare.sh, which see. Standard library only."""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
GENERATOR = HERE / "target/release/coucou-load"
SERVERS = ["coucou", "ejabberd", "prosody"]
IDLE = {"coucou": 5000, "ejabberd": 1000, "prosody": 1000}
TOTAL_SECONDS_MAX = 20 * 60
NOTES = f"""Messages of 300 bytes between 40 users. Saturated: each keeps 8 under way; acknowledged: with stream
management, asking after every 8. 500/s: each due at a fixed time from which its latency counts, with an
acknowledgement asked for after each. Idle sessions: {", ".join(f"{IDLE[server]} of {server}" for server in SERVERS)}.
CPU is the server's, user and kernel. "vs": how many times better Coucou is; below 1 when it is not.
"""

# Title, figure, runs it is taken from, whether more is better, unit.
ROWS = [
    ("start until logins are accepted", "start_ms", "start", False, "ms"),
    ("empty server, resident", "server_rss_empty_kib", "idle", False, "KiB"),
    ("idle TLS session, resident", "server_rss_per_session_kib", "idle", False, "KiB"),
    ("1,000 logins, CPU", "server_cpu_seconds_per_1000_logins", "logins", False, "s"),
    ("logins per second", "logins_per_second", "logins", True, "/s"),
    ("saturated: messages per CPU-second", "messages_per_server_cpu_second", "flood", True, "/s"),
    ("saturated: delivered per second", "messages_per_second", "flood", True, "/s"),
    ("saturated, acknowledged: messages per CPU-second", "messages_per_server_cpu_second", "flood_acked", True, "/s"),
    ("saturated, acknowledged: delivered per second", "messages_per_second", "flood_acked", True, "/s"),
    ("saturated, acknowledged: written per message", "server_bytes_written_per_message", "flood_acked", False, "B"),
    ("500/s: delivery p50", "delivery_p50_ms", "steady", False, "ms"),
    ("500/s: delivery p99", "delivery_p99_ms", "steady", False, "ms"),
    ("500/s: acknowledgement p99", "ack_p99_ms", "steady", False, "ms"),
    ("500/s: CPU per 1,000 messages", "server_cpu_seconds_per_1000_messages", "steady", False, "s"),
    ("500/s: written per message", "server_bytes_written_per_message", "steady", False, "B"),
    ("500/s: not delivered", "undelivered", "steady", False, ""),
    ("archive: pages of 50 per second", "pages_per_second", "archive", True, "/s"),
    ("archive: CPU per 1,000 pages", "server_cpu_seconds_per_1000_pages", "archive", False, "s"),
    ("archive: newest page p50", "newest_page_p50_ms", "archive", False, "ms"),
]


class Bench:
    """All runs of one comparison."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.seconds = 2 if quick else 8
        self.deadline = time.monotonic() + TOTAL_SECONDS_MAX
        self.results: dict[str, dict[str, dict]] = {}
        self.versions: dict[str, str] = {}

    def run(self, server: str, archive: str) -> None:
        """Everything for one server with its archive on or off."""
        key = f"{server} {archive}"
        self.results[key] = {}
        sessions = 100 if self.quick else IDLE[server]
        with Server(server, archive, max(sessions, 200)) as peer:
            self.versions[server] = peer.settings["PEER_VERSION"].strip("'")
            if archive == "on":
                if "START_MS" in peer.settings:
                    self.results[key]["start"] = {"start_ms": float(peer.settings["START_MS"])}
                # On the fresh server, so that "empty" means just that.
                peer.again()
                self.load(key, peer, "idle", sessions, "idle")
                self.load(key, peer, "logins", 100, "logins", "--count", "100" if self.quick else "1000")
            chat = ["messages", "--duration", str(self.seconds), "--drain", "20"]
            self.load(key, peer, "flood", 40, *chat)
            self.load(key, peer, "flood_acked", 40, *chat, "--ack-every", "8")
            self.load(key, peer, "steady", 40, *chat, "--rate", "500", "--ack-every", "1")
            if archive == "on":
                # A peer may still be busy with what it was sent.
                peer.again()
                fill = "100" if self.quick else "500"
                # Accounts that have not chatted yet: the archives are of one size for all.
                self.load(key, peer, "archive", 4, "archive", "--fill", fill, "--duration", str(self.seconds), first=100)

    def load(self, key: str, peer: "Server", run: str, users: int, *scenario: str, first: int = 0) -> None:
        if time.monotonic() > self.deadline:
            print(f"{key} {run}: left out, time is up", file=sys.stderr)
            return
        command = [
            str(GENERATOR), "--server", f"127.0.0.1:{peer.settings['PEER_TLS_PORT']}",
            "--domain", peer.settings["PEER_DOMAIN"], "--password-pattern", peer.settings["PEER_PASSWORD"],
            "--server-pid", peer.settings["PEER_PID"], "--users", str(users), "--first", str(first), "--json", *scenario,
        ]
        print(f"{key}: {run}", file=sys.stderr, flush=True)
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=180)
        if outcome.returncode:
            print(f"{key} {run} failed: {outcome.stderr.strip()}", file=sys.stderr, flush=True)
        else:
            self.results[key][run] = json.loads(outcome.stdout)["figures"]

    def figure(self, server: str, archive: str, run: str, name: str) -> float | None:
        return self.results.get(f"{server} {archive}", {}).get(run, {}).get(name)


class Server:
    """A server started by its script, in a temporary directory."""

    def __init__(self, name: str, archive: str, users: int) -> None:
        self.script = str(HERE / f"peers/{name}.sh")
        self.home = pathlib.Path(tempfile.mkdtemp(prefix=f"coucou-load-{name}-"))
        self.directory = self.home / "data"
        self.arguments = ["--archive", archive, "--users", str(users)]
        self.settings: dict[str, str] = {}

    def call(self, action: str, *arguments: str) -> None:
        # The server inherits the script's output, so that goes to a file: a pipe would not end.
        log = self.home / "script.log"
        with open(log, "a") as output:
            command = [self.script, action, "--dir", str(self.directory), *arguments]
            outcome = subprocess.run(command, stdout=output, stderr=output, timeout=900)
        if outcome.returncode:
            raise RuntimeError(f"{command}:\n{log.read_text()}")

    def describe(self) -> None:
        for name in ("peer.env", "start.env"):
            path = self.directory / name
            lines = path.read_text().splitlines() if path.exists() else []
            self.settings |= dict(line.split("=", 1) for line in lines)

    def again(self) -> None:
        """Stops and starts it on the same data: nothing of the making of accounts is in its memory."""
        self.call("halt")
        self.call("resume")
        self.describe()

    def __enter__(self) -> "Server":
        self.call("start", *self.arguments)
        self.describe()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.call("stop")
        shutil.rmtree(self.home)


def number(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def ratio(ours: float | None, theirs: float | None, more_is_better: bool) -> str:
    """How many times better we are; below 1 when they are."""
    if ours is None or theirs is None or not (ours and theirs):
        return "–"
    times = ours / theirs if more_is_better else theirs / ours
    return f"{times:,.0f}×" if times >= 100 else f"{times:.2g}×"


def table(bench: Bench, servers: list[str]) -> str:
    lines = []
    for archive in ("on", "off"):
        shown = [row for row in ROWS if any(bench.figure(s, archive, row[2], row[1]) is not None for s in servers)]
        if not shown:
            continue
        peers = [server for server in servers if server != "coucou"] if "coucou" in servers else []
        head = ["archive " + archive, *servers, *(f"vs {peer}" for peer in peers)]
        lines += ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
        for title, name, run, more, unit in shown:
            values = {server: bench.figure(server, archive, run, name) for server in servers}
            ratios = [ratio(values["coucou"], values[peer], more) for peer in peers]
            lines.append("| " + " | ".join([title, *(number(values[s], unit) for s in servers), *ratios]) + " |")
        lines.append("")
    return "\n".join(lines)


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return f"{os.cpu_count()} cores, {model}, Linux {os.uname().release}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare Coucou with ejabberd and Prosody.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=SERVERS)
    parser.add_argument("--publish")
    options = parser.parse_args()
    servers = [server for server in SERVERS if server in (options.only or SERVERS)]
    bench = Bench(options.quick)
    for archive in ("on", "off"):
        for server in servers:
            bench.run(server, archive)

    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    about = f"{stamp}, {machine()}\n\n" + "".join(f"- {name}: {bench.versions[name]}\n" for name in servers)
    text = f"{about}\n{NOTES}\n{table(bench, servers)}"
    runs = HERE / "runs"
    path = runs / "published" / options.publish if options.publish else runs / stamp.replace(" ", "-").replace(":", "")
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = {"when": stamp, "machine": machine(), "versions": bench.versions, "runs": bench.results}
    path.with_name(path.name + ".json").write_text(json.dumps(raw, indent=1) + "\n")
    path.with_name(path.name + ".md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
