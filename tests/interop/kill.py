#!/usr/bin/env python3
"""The kill loop: what the server has acknowledged is there after SIGKILL, once.

Pairs of users send messages to each other under stream management and keep a record of every
stanza the server acknowledged; one more user adds contacts. The server is killed at random moments
and started again; the clients resume their sessions and go on. In the end the record is compared
with what a fresh login finds in both archives and in the roster, and with what the receivers got.

A message may reach its receiver before it is on the disk: only the acknowledgement waits for that.
If the server dies in between, the sender sends it again and the receiver sees it twice, the first
copy with an archive id that exists no more. Such repeats are counted; they are no duplicates.

With --cut it is the clients' connections that end, and the server lives on: what any server must
bear whose sessions resume (and how this script was tried against Prosody).

usage: kill.py [--server coucou|prosody|ejabberd] [--cut] [--cycles N] [--pairs N] [--seed N]
"""

import argparse
import asyncio
import collections
import logging
import random
import sys
import time
import xml.etree.ElementTree as ET

import servers
from checks import PATIENCE, Checks, Failure, eventually, require
from client import CLIENT, Client, Disconnected

UNACKNOWLEDGED_MAX = 20
ASK_EVERY = 5
# A roster is bounded; beyond that, contacts are set again.
CONTACTS_MAX = 2000
# Seconds between start and kill: from "nobody has resumed yet" to "all are busy".
LIFE_SECONDS = (0.05, 1.5)
# Seconds a user takes before sending the next messages, so that eight of them leave the server its share.
BREATH_SECONDS = 0.01


class User:
    """A client that comes back until the run is over."""

    def __init__(self, run: "Run", number: int) -> None:
        self.run = run
        self.client = Client(run.server, f"u{number}", servers.PASSWORD, self.receive)
        self.client.on_acknowledged = self.note_acknowledged
        self.acknowledged: list[str] = []
        self.received: list[tuple[str, str]] = []
        self.bounced: list[str] = []
        self.sequence = 0
        self.resumed = 0
        self.sessions_lost = 0

    def note_acknowledged(self, key: object) -> None:
        if key is not None:
            self.acknowledged.append(str(key))

    def receive(self, message: ET.Element) -> None:
        if message.find(CLIENT + "body") is None:
            return
        if message.get("type") == "error":
            self.bounced.append(message.get("id", ""))
            return
        ids = [
            element.get("id", "")
            for element in message.findall("{urn:xmpp:sid:0}stanza-id")
            if element.get("by") == self.client.bare
        ]
        self.received.append((message.get("id", ""), ids[0] if ids else ""))

    async def live(self) -> None:
        while True:
            try:
                await self.come_back()
                await self.work()
                return
            except (Disconnected, OSError):
                pass

    async def begin(self) -> None:
        await self.client.login()
        self.client.send_stanza("<presence/>")

    async def work(self) -> None:
        """Does something until the run is over and everything is acknowledged."""
        client = self.client
        while not (self.run.over and not client.unacknowledged):
            if client.fault:
                raise client.fault
            if client.lost.is_set():
                raise Disconnected
            if not self.run.over and len(client.unacknowledged) < UNACKNOWLEDGED_MAX:
                for _ in range(ASK_EVERY):
                    self.sequence += 1
                    self.act()
            if client.unacknowledged:
                client.request_acknowledgement()
            await asyncio.sleep(BREATH_SECONDS)

    def act(self) -> None:
        raise NotImplementedError

    async def come_back(self) -> None:
        """Resumes the session, or logs in anew where the server has forgotten it."""
        deadline = time.monotonic() + servers.START_SECONDS_MAX
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    if self.client.sm_id is None:
                        await self.begin()
                    elif await self.client.resume():
                        self.resumed += 1
                    else:
                        self.sessions_lost += 1
                        self.client.cut()
                        await self.begin()
                return
            except (Disconnected, OSError):
                if time.monotonic() > deadline:
                    raise Failure(f"{self.client.user} cannot come back") from None
                await asyncio.sleep(0.05)


class Talker(User):
    """Sends messages to a partner."""

    def __init__(self, run: "Run", number: int) -> None:
        super().__init__(run, number)
        self.partner_jid = f"u{number ^ 1}@{servers.DOMAIN}"

    def act(self) -> None:
        name = f"{self.client.user}-{self.sequence:06}"
        self.client.send_message(self.partner_jid, f"message {name}", key=name)


class Collector(User):
    """Adds contacts to its roster."""

    def act(self) -> None:
        name = f"contact{self.sequence % CONTACTS_MAX}@example.org"
        self.client.send_stanza(
            f"<iq type='set' id='c{self.sequence}'><query xmlns='jabber:iq:roster'><item jid='{name}'/></query></iq>",
            name,
        )


class Run:
    def __init__(self, server, pairs: int, cut: bool) -> None:
        self.server = server
        self.cut = cut
        self.over = False
        self.talkers = [Talker(self, number) for number in range(2 * pairs)]
        self.collector = Collector(self, 2 * pairs)
        self.users: list[User] = [*self.talkers, self.collector]

    def partner(self, talker: Talker) -> Talker:
        return self.talkers[self.talkers.index(talker) ^ 1]


async def strike(run: Run, cycles: int, chance: random.Random) -> None:
    """Kills and starts the server again and again; then the users may finish."""
    for cycle in range(cycles):
        await asyncio.sleep(chance.uniform(*LIFE_SECONDS))
        if run.cut:
            for user in run.users:
                user.client.cut()
        else:
            run.server.kill()
            await asyncio.to_thread(run.server.start)
        acknowledged = sum(len(user.acknowledged) for user in run.users)
        print(f"cycle {cycle + 1} of {cycles}: {acknowledged} stanzas acknowledged so far", flush=True)
    await asyncio.sleep(chance.uniform(*LIFE_SECONDS))
    run.over = True


def count_repeats(received: list[tuple[str, str]]) -> tuple[list[str], int]:
    """Ids that came twice with one archive id, and the number that came twice with two."""
    archive_ids = collections.defaultdict(list)
    for name, archive_id in received:
        archive_ids[name].append(archive_id)
    duplicates = [name for name, ids in archive_ids.items() if len(set(ids)) < len(ids)]
    repeats = sum(len(ids) > 1 for ids in archive_ids.values()) - len(duplicates)
    return duplicates, repeats


async def compare(run: Run, checks: Checks) -> None:
    """Compares the record with what a fresh login finds."""
    archives = []
    for talker in run.talkers:
        fresh = Client(run.server, talker.client.user, servers.PASSWORD)
        await fresh.login()
        found = await fresh.archive()
        archives.append([message.get("id") for _, message in found if message.find(CLIENT + "body") is not None])
        ids = [archive_id for archive_id, _ in found]
        checks.expect(f"{talker.client.user}: archive ids are unique", len(set(ids)) == len(ids), len(ids))
        await fresh.close()
    for number, talker in enumerate(run.talkers):
        name = talker.client.user
        for owner, archive in (("its own", archives[number]), ("its partner's", archives[number ^ 1])):
            counts = collections.Counter(archive)
            missing = [key for key in talker.acknowledged if not counts[key]]
            checks.expect(
                f"{name}: {len(talker.acknowledged)} acknowledged messages are in {owner} archive",
                not missing, f"{len(missing)} missing, such as {missing[:5]}",
            )
            doubled = [key for key, count in counts.items() if count > 1]
            checks.expect(f"{name}: nothing is twice in {owner} archive", not doubled, doubled[:5])
            sent = [key for key in archive if key and key.startswith(f"{name}-")]
            checks.expect(f"{name}: {owner} archive has its messages in order", sent == sorted(sent), "not in order")

    fresh = Client(run.server, run.collector.client.user, servers.PASSWORD)
    await fresh.login()
    roster = await fresh.iq("get", "<query xmlns='jabber:iq:roster'/>")
    contacts = {item.get("jid") for item in roster.iter("{jabber:iq:roster}item")}
    missing = [key for key in run.collector.acknowledged if key not in contacts]
    checks.expect(f"{len(run.collector.acknowledged)} acknowledged contacts are in the roster", not missing, missing[:5])
    await fresh.close()


async def kill_loop(server, options: argparse.Namespace, checks: Checks) -> None:
    cycles = options.cycles
    run = Run(server, options.pairs, options.cut)
    lives = [asyncio.create_task(user.live()) for user in run.users]
    striking = asyncio.create_task(strike(run, cycles, random.Random(options.seed)))
    await asyncio.wait([striking, *lives], return_when=asyncio.FIRST_EXCEPTION, timeout=cycles * 60)
    run.over = True
    if not striking.done():
        striking.cancel()
        await asyncio.gather(striking, return_exceptions=True)
    await asyncio.wait(lives, timeout=2 * PATIENCE)
    for user, life in zip(run.users, lives):
        name = f"{user.client.user} lives through the run"
        if not life.done():
            life.cancel()
            checks.fails(name, f"{len(user.client.unacknowledged)} stanzas are never acknowledged")
        elif life.exception():
            checks.fails(name, repr(life.exception()))
    if striking.cancelled() or striking.exception():
        reason = "a client gave up" if striking.cancelled() else repr(striking.exception())
        checks.fails("the server lives through the run", reason)
        return

    lost = sum(user.sessions_lost for user in run.users)
    resumed = sum(user.resumed for user in run.users)
    print(f"{resumed} sessions resumed, {lost} forgotten by the server", flush=True)
    if server.resumes_after_crash or run.cut:
        checks.expect("every session is resumed", lost == 0 and resumed, f"{lost} lost, {resumed} resumed")
    else:
        checks.skips("every session is resumed", f"{server.kind} does not promise that after a crash")
    if lost == 0:
        repeats = 0
        for talker in run.talkers:
            name, partner = talker.client.user, run.partner(talker)

            def missing(talker=talker, partner=partner) -> list[str]:
                received = {name for name, _ in talker.received}
                return [key for key in partner.acknowledged if key not in received]

            try:
                await eventually(lambda: not missing(), "messages to arrive")
                checks.passes(f"{name}: received all that was acknowledged to its partner")
            except Failure:
                checks.fails(
                    f"{name}: received all that was acknowledged to its partner",
                    f"{len(missing())} of {len(partner.acknowledged)} missing, such as {missing()[:5]}",
                )
            duplicates, again = count_repeats(talker.received)
            repeats += again
            checks.expect(f"{name}: received nothing twice", not duplicates, f"{len(duplicates)}: {duplicates[:5]}")
            checks.expect(f"{name}: nothing bounced", not talker.bounced, talker.bounced[:5])
        print(f"{repeats} messages repeated, as their first copy was not on the disk yet", flush=True)
    for user in run.users:
        user.client.cut()

    server.kill()
    faults = server.integrity_faults()
    checks.expect("the databases are sound after SIGKILL", not faults and server.databases(), faults or "no database")
    await asyncio.to_thread(server.start)
    await compare(run, checks)


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a server under load and see what it kept.")
    parser.add_argument("--server", choices=["coucou", "prosody", "ejabberd"], default="coucou")
    parser.add_argument("--cut", action="store_true", help="cut the connections instead of killing the server")
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the moments of the kills")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    # asyncio warns of every write to a connection that has just ended.
    logging.disable(logging.CRITICAL)
    checks = Checks()
    with servers.make(options.server, 2 * options.pairs + 1) as server:
        require(server.databases(), "the server has a database")
        asyncio.run(kill_loop(server, options, checks))
    print(f"{checks.passed} passed, {checks.failed} failed, {checks.skipped} skipped")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
