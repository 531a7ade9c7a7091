#!/usr/bin/env python3
"""Accounts that move: made by a client on ejabberd and Prosody, exported by them, imported here,
signed in to with the same password; and our export, read back by us and by ejabberd (XEP-0227).

usage: portable.py [--server coucou]
"""

import argparse
import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

import servers
from checks import Checks, eventually, require
from client import Client

PIE = "{urn:xmpp:pie:0}"
ROSTER = "jabber:iq:roster"
USERS = 3


async def live_a_little(server) -> None:
    """u0 makes friends with u1 and leaves; u1 writes to it; u2 asks for its presence."""
    one, other, third = (Client(server, f"u{n}", servers.PASSWORD) for n in range(3))
    for client in (one, other):
        await client.login(manage=False)
        await client.iq("get", f"<query xmlns='{ROSTER}'/>")
        client.send("<presence/>")
    await one.iq("set", f"<query xmlns='{ROSTER}'><item jid='{other.bare}' name='The other'>"
                 "<group>Friends &amp; more</group></item></query>")
    for a, b in ((one, other), (other, one)):
        a.send(f"<presence to='{b.bare}' type='subscribe'/>")
        b.send(f"<presence to='{a.bare}' type='subscribed'/>")
    await one.iq("set", "<vCard xmlns='vcard-temp'><FN>User Zero</FN></vCard>")
    await one.iq("set", "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>"
                 "<conference jid='room@conference.example' name='Room'/></storage></query>")
    await until_both(one, other)
    await one.close()
    other.send(f"<message to='{one.bare}' type='chat'><body>while you were away</body></message>")
    await third.login(manage=False)
    third.send("<presence/>")
    third.send(f"<presence to='{one.bare}' type='subscribe'/>")
    # Answered after what came before it.
    await third.iq("get", f"<query xmlns='{ROSTER}'/>")
    await other.iq("get", f"<query xmlns='{ROSTER}'/>")
    await third.close()
    await other.close()


async def until_both(one, other) -> None:
    for _ in range(100):
        answer = await one.iq("get", f"<query xmlns='{ROSTER}'/>")
        items = answer.iter(f"{{{ROSTER}}}item")
        if any(item.get("jid") == other.bare and item.get("subscription") == "both" for item in items):
            return
        await asyncio.sleep(0.05)
    require(False, "the two never became friends")


async def is_at_home(server, mechanism: str | None, waiting: bool = True) -> None:
    """u0 signs in as before and finds what it left."""
    got = []
    client = Client(server, "u0", servers.PASSWORD, on_message=got.append)
    await client.login(manage=False, mechanism=mechanism)
    answer = await client.iq("get", f"<query xmlns='{ROSTER}'/>")
    items = {item.get("jid"): item for item in answer.iter(f"{{{ROSTER}}}item")}
    friend = items.get("u1@localhost")
    require(friend is not None, f"no u1 in the roster {list(items)}")
    require((friend.get("subscription"), friend.get("name")) == ("both", "The other"), friend.attrib)
    groups = [group.text for group in friend.iter(f"{{{ROSTER}}}group")]
    require(groups == ["Friends & more"], groups)
    answer = await client.iq("get", "<vCard xmlns='vcard-temp'/>")
    require(answer.findtext(".//{vcard-temp}FN") == "User Zero", ET.tostring(answer))
    answer = await client.iq("get", "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>")
    require(answer.find(".//{storage:bookmarks}conference") is not None, ET.tostring(answer))
    client.send("<presence/>")
    if waiting:
        def text(message):
            return message.findtext("{jabber:client}body")
        await eventually(lambda: any(text(m) == "while you were away" for m in got), "the message that waited")
    await client.close()


def erlang(directory: pathlib.Path, code: str, plain: bool = False) -> None:
    """Runs `code` in an ejabberd on the data of a stopped one."""
    config = directory / "ejabberd.yml"
    if plain:
        text = config.read_text().replace("auth_password_format: scram", "auth_password_format: plain")
        config = directory / "plain.yml"
        config.write_text(text)
    environment = dict(
        os.environ, EJABBERD_CONFIG_PATH=str(config), EJABBERD_LOG_PATH=str(directory / "export.log"),
        ERL_LIBS="/usr/lib/x86_64-linux-gnu", HOME=str(directory),
        ERL_CRASH_DUMP=str(directory / "erl_crash.dump"),
    )
    program = f"{{ok, _}} = application:ensure_all_started(ejabberd), {code}, init:stop()."
    command = ["erl", "+K", "true", "-noinput", "-mnesia", "dir", f'"{directory}/mnesia"', "-eval", program]
    outcome = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        timeout=50,
    )
    require(outcome.returncode == 0, f"erl: {outcome.stdout[-1500:]} {outcome.stderr[-500:]}")


def exported(directory: pathlib.Path, code: str = "ok", plain: bool = False) -> pathlib.Path:
    """What ejabberd exports of all its hosts: the main file."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=directory))
    erlang(directory, f'{code}, ok = ejabberd_piefxis:export_server(<<"{folder}">>)', plain)
    mains = [path for path in folder.glob("*.xml") if "server-data" in path.read_text()]
    require(len(mains) == 1, f"files: {list(folder.iterdir())}")
    return mains[0]


def imported(coucou, file: pathlib.Path, *arguments: str) -> None:
    outcome = coucou.cli("import", str(file), *arguments)
    require(outcome.returncode == 0, outcome.stderr or outcome.stdout)


async def from_ejabberd(peer, home) -> None:
    with servers.make("coucou", 0) as coucou:
        imported(coucou, exported(peer.directory))
        await is_at_home(coucou, "SCRAM-SHA-1")
        # Once more does no harm, and a refusal changes nothing.
        require(coucou.cli("import", str(home / "nothing.xml")).returncode != 0, "a file that is not there")


async def from_plain_ejabberd(peer) -> None:
    # Its export cannot bear keys where passwords are to be.
    remove = "".join(f'ejabberd_auth:remove_user(<<"u{n}">>, <<"localhost">>), ' for n in range(USERS))
    register = f'{remove}ejabberd_auth:try_register(<<"plain">>, <<"localhost">>, <<"{servers.PASSWORD}">>)'
    file = exported(peer.directory, register, plain=True)
    with servers.make("coucou", 0) as coucou:
        imported(coucou, file)
        client = Client(coucou, "plain", servers.PASSWORD)
        await client.login(manage=False, mechanism="SCRAM-SHA-256")
        await client.close()


def prosody(directory: pathlib.Path, port: int, tls_port: int) -> subprocess.Popen:
    """A Prosody that keeps its data in files of XEP-0227."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "30", "-subj", "/CN=localhost", "-keyout", directory / "key.pem", "-out", directory / "cert.pem"],
        check=True, capture_output=True,
    )
    tls = f'{{ key = "{directory}/key.pem"; certificate = "{directory}/cert.pem" }}'
    (directory / "prosody.cfg.lua").write_text(f"""
run_as_root = true
pidfile = "{directory}/prosody.pid"
data_path = "{directory}"
certificates = "{directory}"
interfaces = {{ "127.0.0.1" }}
local_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {tls_port} }}
ssl = {tls}
c2s_direct_tls_ssl = {tls}
modules_enabled = {{ "roster"; "saslauth"; "tls"; "disco"; "private"; "vcard"; }}
modules_disabled = {{ "s2s"; "offline" }}
authentication = "internal_hashed"
storage = "xep0227"
log = {{ warn = "{directory}/prosody.log" }}
VirtualHost "localhost"
""")
    config = str(directory / "prosody.cfg.lua")
    for number in range(USERS):
        command = ["prosodyctl", "--config", config, "register", f"u{number}", "localhost", servers.PASSWORD]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    return subprocess.Popen(
        ["prosody", "-F", "--config", config],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


async def from_prosody(home: pathlib.Path) -> None:
    port, tls_port = servers.free_ports(2)
    directory = home / "prosody"
    process = prosody(directory, port, tls_port)
    try:
        await eventually(lambda: servers.accepts(port) and servers.accepts(tls_port), "Prosody")
        there = argparse.Namespace(port=port, tls_port=tls_port)
        await live_a_little(there)
    finally:
        process.terminate()
        process.wait(timeout=20)
    files = [path for path in directory.rglob("*.xml") if "urn:xmpp:pie:0" in path.read_text()]
    require(files, f"no files in {sorted(directory.rglob('*'))}")
    with servers.make("coucou", 0) as coucou:
        for file in files:
            imported(coucou, file)
        # Its offline messages have no place in this storage.
        await is_at_home(coucou, "SCRAM-SHA-1", waiting=False)


def check_form(file: pathlib.Path) -> None:
    """What the schema of the XEP says; its own wildcards would want the schemas of all else."""
    root = ET.parse(file).getroot()
    require(root.tag == f"{PIE}server-data", root.tag)
    hosts = list(root)
    require(hosts and all(host.tag == f"{PIE}host" and host.get("jid") for host in hosts), hosts)
    for host in hosts:
        users = list(host)
        require(users and all(user.tag == f"{PIE}user" and user.get("name") for user in users), users)
        for user in users:
            require(user.get("password") is None, "a password in plain text")
            ours = [n for n, child in enumerate(user) if child.tag.startswith(PIE)]
            require(ours in ([], [0]), f"only one <offline-messages/>, and first: {[c.tag for c in user]}")


async def ours(home: pathlib.Path) -> None:
    first, second = home / "first.xml", home / "second.xml"
    with servers.make("coucou", USERS) as coucou:
        await live_a_little(coucou)
        outcome = coucou.cli("export", "-o", str(first))
        require(outcome.returncode == 0, outcome.stderr)
        require(first.stat().st_mode & 0o777 == 0o600, oct(first.stat().st_mode))
        check_form(first)
    with servers.make("coucou", 0) as other:
        imported(other, first)
        outcome = other.cli("account", "export", "u0@localhost", "-o", str(home / "u0.xml"))
        require(outcome.returncode == 0, outcome.stderr)
        outcome = other.cli("export", "-o", str(second))
        require(outcome.returncode == 0, outcome.stderr)
        same = ET.canonicalize(from_file=first) == ET.canonicalize(from_file=second)
        require(same, "what came in is not what went out")
        await is_at_home(other, "SCRAM-SHA-256")


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="coucou")
    server = parser.parse_args().server
    checks = Checks()
    if server != "coucou":
        checks.skips("portable", "accounts move to Coucou")
    elif not (shutil.which("erl") and shutil.which("prosody")):
        checks.skips("portable", "there is no ejabberd or no Prosody")
    else:
        home = pathlib.Path(tempfile.mkdtemp(prefix="portable-"))
        peer = servers.make("ejabberd", USERS)
        try:
            peer.start()
            await checks.run("a client's life on ejabberd", live_a_little(peer))
            peer.stop()
            await checks.run("ejabberd's export with SCRAM keys", from_ejabberd(peer, home))
            await checks.run("ejabberd's export with passwords", from_plain_ejabberd(peer))
            await checks.run("Prosody's storage", from_prosody(home))
            await checks.run("our export, read back by us", ours(home))
        finally:
            peer.remove()
            if os.environ.get("INTEROP_KEEP"):
                print(f"kept: {home}")
            else:
                shutil.rmtree(home)
    skipped = f", {checks.skipped} skipped" if checks.skipped else ""
    print(f"{checks.passed} passed, {checks.failed} failed{skipped}")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
