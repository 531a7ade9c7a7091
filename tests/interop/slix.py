#!/usr/bin/env python3
"""What a client made with slixmpp sees of the server.

usage: slix.py [--server coucou|prosody|ejabberd] [--only WORD]
"""

import argparse
import asyncio
import contextlib
import datetime
import logging
import secrets
import ssl
import sys

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

import servers
from checks import PATIENCE, Checks, Failure, eventually, require
from client import Client

PLUGINS = [
    "xep_0004", "xep_0012", "xep_0030", "xep_0049", "xep_0054", "xep_0059", "xep_0085", "xep_0092", "xep_0115",
    "xep_0184", "xep_0191", "xep_0199", "xep_0202", "xep_0203", "xep_0280", "xep_0297", "xep_0313", "xep_0333",
    "xep_0352", "xep_0359",
]
USERS = 60


class Bot(slixmpp.ClientXMPP):
    """A client that keeps all that it gets."""

    def __init__(self, server, user: str, resource: str = "", password: str = servers.PASSWORD,
                 mechanism: str | None = None, manage: bool = False, greet: bool = True) -> None:
        jid = f"{user}@{servers.DOMAIN}" + (f"/{resource}" if resource else "")
        super().__init__(jid, password, sasl_mech=mechanism)
        self.tested = server
        self.greet = greet
        for plugin in PLUGINS + (["xep_0198"] if manage else []):
            self.register_plugin(plugin)
        self.plugin["xep_0092"].software_name = "bot"
        # Subscriptions are the tests' business.
        self.roster.auto_authorize = None
        self.roster.auto_subscribe = False
        self.messages: list[slixmpp.Message] = []
        self.presences: list[slixmpp.Presence] = []
        self.events: list[str] = []
        # Not by slixmpp's events: those leave out errors, and what its roster thinks it knows.
        for name, kept in (("message", self.messages), ("presence", self.presences)):
            matcher = MatchXPath(f"{{jabber:client}}{name}")
            self.register_handler(Callback(f"keep every {name}", matcher, kept.append))
        for event in ("session_start", "session_resumed", "sm_enabled", "sm_failed", "failed_all_auth", "disconnected"):
            self.add_event_handler(event, lambda _data, event=event: self.events.append(event))

    def get_ssl_context(self) -> ssl.SSLContext:
        # Self-signed, by design of the test.
        context = super().get_ssl_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def reach(self, direct: bool = False) -> None:
        self.enable_direct_tls = direct
        self.enable_starttls = not direct
        self.connect("127.0.0.1", self.tested.tls_port if direct else self.tested.port)

    async def come(self, direct: bool = False) -> "Bot":
        """Connects, logs in, and announces itself."""
        self.reach(direct)
        await eventually(lambda: {"session_start", "failed_all_auth"} & set(self.events), f"{self.boundjid} to log in")
        require("session_start" in self.events, f"{self.boundjid} was refused")
        if self.greet:
            # Subscriptions are told to those who have asked for the roster (RFC 6121, 2.2).
            await self.get_roster()
            self.send_presence()
            await eventually(
                lambda: any(p["from"] == self.boundjid and p["type"] == "available" for p in self.presences),
                f"the presence of {self.boundjid} to come back",
            )
        return self

    async def leave(self) -> None:
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(self.disconnect(wait=2), PATIENCE)
        self.abort()

    def say(self, to, body: str) -> slixmpp.Message:
        message = self.make_message(mto=to, mbody=body, mtype="chat")
        message.send()
        return message

    def bodies(self) -> list[str]:
        return [message["body"] for message in self.messages if message["body"]]

    async def hear(self, *bodies: str) -> None:
        await eventually(lambda: set(bodies) <= set(self.bodies()), f"{self.boundjid} to hear {bodies}")

    async def see(self, kind: str, sender) -> slixmpp.Presence:
        def found():
            return [p for p in self.presences if p["type"] == kind and sender in (p["from"], p["from"].bare)]

        return (await eventually(found, f"{self.boundjid} to see {kind} of {sender}"))[-1]

    async def silence(self) -> None:
        """Waits until all that was sent to this session so far has come: a ping comes last."""
        await self.plugin["xep_0199"].send_ping(servers.DOMAIN)


class World:
    """Gives each test users of its own and sees to it that they leave."""

    def __init__(self, server) -> None:
        self.server = server
        self.next = 0
        self.bots: list[Bot] = []

    def user(self) -> str:
        self.next += 1
        require(self.next <= USERS, "more users than accounts")
        return f"u{self.next - 1}"

    def bot(self, user: str, *arguments, **options) -> Bot:
        self.bots.append(Bot(self.server, user, *arguments, **options))
        return self.bots[-1]

    async def pair(self) -> tuple[Bot, Bot]:
        """Two who know each other: subscribed both ways, and present."""
        left, right = await self.bot(self.user(), "a").come(), await self.bot(self.user(), "b").come()
        await befriend(left, right)
        return left, right

    async def clear(self) -> None:
        bots, self.bots = self.bots, []
        await asyncio.gather(*(bot.leave() for bot in bots))


async def befriend(left: Bot, right: Bot) -> None:
    for one, other in ((left, right), (right, left)):
        one.send_presence_subscription(pto=other.boundjid.bare, ptype="subscribe")
        await other.see("subscribe", one.boundjid.bare)
        other.send_presence_subscription(pto=one.boundjid.bare, ptype="subscribed")
        await one.see("subscribed", other.boundjid.bare)
    await left.see("available", right.boundjid)
    await right.see("available", left.boundjid)


TESTS: list[tuple[str, object]] = []


def test(name: str):
    """Files a test under `name`."""

    def file(function):
        TESTS.append((name, function))
        return function

    return file


# ---- signing in


@test("every SASL mechanism that server and slixmpp share, over STARTTLS")
async def mechanisms(world: World) -> None:
    probe = Client(world.server, "u0", servers.PASSWORD)
    await probe.connect(direct=False)
    offered = await sasl_offer(world.server)
    usable = sorted(name for name in offered if name == "PLAIN" or name.startswith("SCRAM-") and "PLUS" not in name)
    require({"SCRAM-SHA-1", "PLAIN"} <= set(usable), f"offered: {offered}")
    if world.server.kind == "coucou":
        require({"SCRAM-SHA-256", "SCRAM-SHA-512"} <= set(usable), f"offered: {offered}")
    user = world.user()
    for name in usable:
        bot = await world.bot(user, mechanism=name).come()
        require(bot.plugin["feature_mechanisms"].mech.name in name, f"{name} was not used")
        await bot.leave()


async def sasl_offer(server) -> set[str]:
    """The mechanisms offered after STARTTLS."""
    seen: set[str] = set()

    class Probe(Client):
        def _usual_mechanism(self) -> str:
            seen.update(self.mechanisms())
            return super()._usual_mechanism()

    probe = Probe(server, "u0", servers.PASSWORD)
    await probe.connect(direct=False)
    probe.cut()
    return seen


@test("SCRAM with channel binding (tls-server-end-point), every hash")
async def channel_binding(world: World) -> None:
    # slixmpp binds by tls-unique only, which TLS 1.3 forbids, so the plain client does it.
    names = sorted(name for name in await sasl_offer(world.server) if name.endswith("-PLUS"))
    if world.server.kind == "coucou":
        require(len(names) == 3, f"offered: {names}")
    user = world.user()
    for name in names:
        for direct in (False, True):
            client = Client(world.server, user, servers.PASSWORD)
            await client.login(mechanism=name, direct=direct)
            await client.close()


@test("slixmpp's own choice of mechanism, by direct TLS")
async def direct_tls(world: World) -> None:
    bot = await world.bot(world.user()).come(direct=True)
    require(bot.transport.get_extra_info("peername")[1] == world.server.tls_port, "not the TLS port")


@test("a wrong password is refused, and the right one works after that")
async def wrong_password(world: World) -> None:
    user = world.user()
    bot = world.bot(user, password="not it")
    bot.reach()
    await eventually(lambda: "failed_all_auth" in bot.events, "the refusal")
    require("session_start" not in bot.events, "was let in")
    bot.abort()
    await world.bot(user).come()


# ---- accounts


@test("XEP-0077: a client makes an account, changes its password and removes it")
async def registration(world: World) -> None:
    if not world.server.registers:
        return
    name, first, second = f"new{secrets.token_hex(4)}", "Romeo-wherefore-7", "Juliet-is-the-sun-8"
    bot = world.bot(name, password=first)
    bot.register_plugin("xep_0077")
    forms: list = []

    async def fill_in(form: slixmpp.Iq) -> None:
        forms.append(form)
        for password, condition in (("1234", "not-acceptable"), (first, "")):
            answer = bot.Iq()
            answer["type"] = "set"
            answer["register"]["username"] = name
            answer["register"]["password"] = password
            try:
                await answer.send()
                require(not condition, f"the password {password} was taken")
            except IqError as error:
                require(error.condition == condition, f"{error.iq}")

    bot.add_event_handler("register", fill_in)
    await bot.come()
    require(forms, "no form was offered")
    require({"username", "password"} <= set(forms[0]["register"]["fields"]), f"{forms[0]}")
    info = await bot.plugin["xep_0077"].get_registration(servers.DOMAIN)
    require(info["register"]["registered"] and info["register"]["username"] == name, f"{info}")
    await bot.plugin["xep_0077"].change_password(second, servers.DOMAIN)
    other = await world.bot(name, password=second).come()
    old = world.bot(name, password=first)
    old.reach()
    await eventually(lambda: "failed_all_auth" in old.events, "the old password to be refused")
    old.abort()
    await other.leave()
    await bot.plugin["xep_0077"].cancel_registration()
    await eventually(lambda: "disconnected" in bot.events, "the end of the stream")
    bot.abort()
    gone = world.bot(name, password=second)
    gone.reach()
    await eventually(lambda: "failed_all_auth" in gone.events, "the account to be gone")
    gone.abort()


# ---- roster and presence


@test("subscription handshake, roster pushes, and the end of it")
async def subscription(world: World) -> None:
    left, right = await world.pair()
    for one, other in ((left, right), (right, left)):
        await one.get_roster()
        item = one.client_roster[other.boundjid.bare]
        require(item["subscription"] == "both", f"{one.boundjid}: {item['subscription']}")
    await left.update_roster(right.boundjid.bare, name="Rita", groups=["Friends"])
    await left.get_roster()
    item = left.client_roster[right.boundjid.bare]
    require(item["name"] == "Rita" and item["groups"] == ["Friends"], f"{item['name']} {item['groups']}")
    await left.del_roster_item(right.boundjid.bare)
    await right.see("unsubscribed", left.boundjid.bare)
    if world.server.kind == "coucou":
        # RFC 6121, 3.2.3; the peers leave it out.
        await right.see("unavailable", left.boundjid)
    await right.get_roster()
    require(right.client_roster[left.boundjid.bare]["subscription"] == "none", "right still sees a subscription")


@test("roster pushes reach every resource")
async def roster_push(world: World) -> None:
    user = world.user()
    first, second = await world.bot(user, "one").come(), await world.bot(user, "two").come()
    await first.update_roster("friend@example.org", name="Friend")
    await eventually(lambda: second.client_roster["friend@example.org"]["name"] == "Friend", "the push")


@test("roster versioning: nothing changed, nothing sent")
async def roster_version(world: World) -> None:
    client = Client(world.server, world.user(), servers.PASSWORD)
    await client.login()
    require(client.features.find("{urn:xmpp:features:rosterver}ver") is not None, "not among the features")
    await client.iq("set", "<query xmlns='jabber:iq:roster'><item jid='friend@example.org'/></query>")
    answer = await client.iq("get", "<query xmlns='jabber:iq:roster' ver=''/>")
    version = answer.find("{jabber:iq:roster}query").get("ver")
    require(version, "no version")
    answer = await client.iq("get", f"<query xmlns='jabber:iq:roster' ver='{version}'/>")
    require(answer.find("{jabber:iq:roster}query") is None, "the roster was sent again")
    await client.close()


@test("presence: available, away with a status, directed, unavailable when the connection is lost")
async def presence(world: World) -> None:
    left, right = await world.pair()
    left.send_presence(pshow="away", pstatus="gone fishing", ppriority=5)
    await eventually(lambda: any(p["status"] == "gone fishing" for p in right.presences), "the status")
    seen = await right.see("away", left.boundjid)
    require(seen["priority"] == 5, f"priority {seen['priority']}")
    stranger = await world.bot(world.user(), "s").come()
    left.send_presence(pto=stranger.boundjid)
    await stranger.see("available", left.boundjid)
    left.transport.abort()
    await right.see("unavailable", left.boundjid)
    await stranger.see("unavailable", left.boundjid)


# ---- messages


@test("messages, receipts, chat states and markers pass both ways")
async def messages(world: World) -> None:
    left, right = await world.pair()
    sent = left.make_message(mto=right.boundjid.bare, mbody="one <&> \U0001F426", mtype="chat")
    sent["request_receipt"] = True
    sent["chat_state"] = "active"
    sent.enable("markable")
    sent.send()
    await right.hear("one <&> \U0001F426")
    got = right.messages[-1]
    require(got["from"] == left.boundjid and got["id"] == sent["id"], f"{got}")
    require(got["chat_state"] == "active" and got.get_plugin("markable", check=True) is not None, f"{got}")
    # slixmpp acknowledges receipts by itself.
    await eventually(lambda: any(m["receipt"] == sent["id"] for m in left.messages) or left_receipts(left, sent), "the receipt")
    marker = right.make_message(mto=left.boundjid, mtype="chat")
    marker["displayed"]["id"] = sent["id"]
    marker.send()
    await eventually(lambda: any(m.get_plugin("displayed", check=True) for m in left.messages), "the marker")
    right.say(left.boundjid, "two")
    await left.hear("two")


def left_receipts(bot: Bot, sent) -> bool:
    return any(m.xml.find("{urn:xmpp:receipts}received") is not None and m["receipt"] == sent["id"] for m in bot.messages)


@test("a message to nobody comes back as an error")
async def nobody(world: World) -> None:
    bot = await world.bot(world.user()).come()
    message = bot.say(f"nobody-{secrets.token_hex(4)}@{servers.DOMAIN}", "hello?")
    if world.server.kind == "prosody":
        # Prosody answers nothing, so as not to tell who exists.
        return
    await eventually(lambda: any(m["type"] == "error" and m["id"] == message["id"] for m in bot.messages), "the error")
    error = next(m for m in bot.messages if m["type"] == "error")
    require(error["error"]["condition"] == "service-unavailable", f"{error}")


@test("carbons: the other resource sees what is received and what is sent")
async def carbons(world: World) -> None:
    left, right = await world.pair()
    second = await world.bot(left.boundjid.user, "second").come()
    await second.plugin["xep_0280"].enable()
    received, sent = [], []
    second.add_event_handler("carbon_received", received.append)
    second.add_event_handler("carbon_sent", sent.append)
    right.say(left.boundjid.full, "to the first resource")
    await left.hear("to the first resource")
    await eventually(lambda: received, "the received carbon")
    require(received[0]["carbon_received"]["body"] == "to the first resource", f"{received[0]}")
    left.say(right.boundjid.bare, "from the first resource")
    await eventually(lambda: sent, "the sent carbon")
    require(sent[0]["carbon_sent"]["body"] == "from the first resource", f"{sent[0]}")
    await second.silence()
    require(len(received) == len(sent) == 1, f"{len(received)} received, {len(sent)} sent")


@test("offline messages come in order, once, with their time")
async def offline(world: World) -> None:
    left, right = await world.pair()
    await right.leave()
    await left.see("unavailable", right.boundjid)
    texts = [f"while you slept {number}" for number in range(5)]
    for text in texts:
        left.say(right.boundjid.bare, text)
    await left.silence()
    again = await world.bot(right.boundjid.user, "again").come()
    await again.hear(*texts)
    require(again.bodies() == texts, f"{again.bodies()}")
    stamp = again.messages[0]["delay"]["stamp"]
    age = datetime.datetime.now(datetime.UTC) - stamp
    require(abs(age.total_seconds()) < 120, f"stamped {stamp}")
    await again.leave()
    third = await world.bot(right.boundjid.user, "third").come()
    await third.silence()
    require(not third.bodies(), f"came again: {third.bodies()}")


@test("a message that crosses with its receiver's first presence arrives, once")
async def crossing(world: World) -> None:
    sender = Client(world.server, world.user(), servers.PASSWORD)
    await sender.login()
    receiver = world.user()
    for round_number in range(40):
        received: list[str | None] = []
        client = Client(world.server, receiver, servers.PASSWORD, lambda message: received.append(message.get("id")))
        await client.login()
        name = sender.send_message(client.bare, "crossing")
        # From "sent long before" to "sent at once".
        await asyncio.sleep((round_number % 8) / 1000)
        client.send_stanza("<presence/>")
        await eventually(lambda: name in received, f"message {round_number}")
        await client.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        require(received == [name], f"round {round_number}: {received}")
        await client.close()
    await sender.close()


# ---- stream management


@test("stream management: the connection is cut, the session resumes, nothing lost, nothing twice")
async def resumption(world: World) -> None:
    left = await world.bot(world.user(), "a").come()
    right = await world.bot(world.user(), "b", manage=True).come()
    await eventually(lambda: "sm_enabled" in right.events, "stream management")
    left.say(right.boundjid.full, "before")
    await right.hear("before")
    for round_number in range(3):
        texts = [f"round {round_number}, {number}" for number in range(10)]
        answers = [f"answer {round_number}, {number}" for number in range(10)]
        for answer in answers:
            right.say(left.boundjid.full, answer)
        # What is in slixmpp's own queue at the cut it forgets; what is in the socket's it does not.
        await eventually(lambda: right.waiting_queue.empty(), "the answers to leave")
        right.events.clear()
        right.transport.abort()
        for text in texts:
            left.say(right.boundjid.full, text)
        await left.silence()
        if not right.is_connecting():
            right.reach()
        await eventually(lambda: {"session_resumed", "session_start"} & set(right.events), "the session to come back")
        require("session_resumed" in right.events, f"not resumed: {right.events}")
        await right.hear(*texts)
        await left.hear(*answers)
    await left.silence()
    await right.silence()
    for bot in (left, right):
        require(len(bot.bodies()) == len(set(bot.bodies())), f"{bot.boundjid} heard twice: {bot.bodies()}")
    ordered = [body for body in right.bodies() if body.startswith("round")]
    require(ordered == sorted(ordered), f"out of order: {ordered}")


@test("stream management: what was not resumed in time is delivered to the next login")
async def hand_over(world: World) -> None:
    left = await world.bot(world.user(), "a").come()
    client = Client(world.server, world.user(), servers.PASSWORD)
    await client.login("mobile")
    client.send_stanza("<presence/>")
    left.say(client.bare, "seen and counted")
    await eventually(lambda: client.handled >= 2, "the message")
    client.request_acknowledgement()
    client.cut()
    left.say(client.bare, "sent into the void")
    await left.silence()
    # The same resource signs in anew: the old session is over, and what it missed is not lost.
    successor = await world.bot(client.user, "mobile").come()
    await successor.hear("sent into the void")


# ---- archive


@test("archive: everything is found, by pages, by partner and by time, by both sides")
async def archive(world: World) -> None:
    left, right = await world.pair()
    start = datetime.datetime.now(datetime.UTC)
    texts = [f"archived {number:03}" for number in range(30)]
    for number, text in enumerate(texts):
        one, other = ((left, right), (right, left))[number % 2]
        one.say(other.boundjid.bare, text)
        await other.hear(text)
    for bot in (left, right):
        other = (left if bot is right else right).boundjid.bare
        found = [m async for m in bot.plugin["xep_0313"].iterate(with_jid=slixmpp.JID(other), rsm={"max": 7})]
        bodies = [m["mam_result"]["forwarded"]["stanza"]["body"] for m in found]
        require([body for body in bodies if body] == texts, f"{bot.boundjid} found {bodies}")
        ids = [m["mam_result"]["id"] for m in found]
        require(len(set(ids)) == len(ids), "archive ids repeat")
        newest = bot.plugin["xep_0313"].iterate(reverse=True, rsm={"max": 3}, total=3)
        newest = [m["mam_result"]["forwarded"]["stanza"]["body"] async for m in newest]
        require(set(newest) == set(texts[-3:]), f"newest: {newest}")
        later = [m async for m in bot.plugin["xep_0313"].iterate(start=start + datetime.timedelta(days=1))]
        require(not later, f"{len(later)} messages from tomorrow")
        nobody = [m async for m in bot.plugin["xep_0313"].iterate(with_jid=slixmpp.JID("nobody@example.org"))]
        require(not nobody, f"{len(nobody)} messages with nobody")


@test("archive: the id in a live message is the id in the archive")
async def stanza_ids(world: World) -> None:
    left, right = await world.pair()
    left.say(right.boundjid.bare, "mark me")
    await right.hear("mark me")
    live = next(m for m in right.messages if m["body"] == "mark me")
    ids = [e.get("id") for e in live.xml.findall("{urn:xmpp:sid:0}stanza-id") if e.get("by") == right.boundjid.bare]
    require(len(ids) == 1, f"stanza-ids: {ids}")
    found = [m["mam_result"]["id"] async for m in right.plugin["xep_0313"].iterate()]
    require(ids[0] in found, f"{ids[0]} not in {found}")


@test("archive: preferences are kept and obeyed")
async def preferences(world: World) -> None:
    left, right = await world.pair()
    prefs = "<prefs xmlns='urn:xmpp:mam:2'{}><always/><never/></prefs>"

    def default(answer: slixmpp.Iq) -> str | None:
        element = answer.xml.find("{urn:xmpp:mam:2}prefs")
        return None if element is None else element.get("default")

    answer = await request(right, "get", "<prefs xmlns='urn:xmpp:mam:2'/>")
    require(default(answer) in ("always", "never", "roster"), f"{answer}")
    await request(right, "set", prefs.format(" default='never'"))
    answer = await request(right, "get", "<prefs xmlns='urn:xmpp:mam:2'/>")
    require(default(answer) == "never", f"{answer}")
    left.say(right.boundjid.bare, "off the record")
    await right.hear("off the record")
    await request(right, "set", prefs.format(" default='always'"))
    left.say(right.boundjid.bare, "on the record")
    await right.hear("on the record")
    archive = right.plugin["xep_0313"].iterate()
    found = [m["mam_result"]["forwarded"]["stanza"]["body"] async for m in archive]
    require([body for body in found if body] == ["on the record"], f"archived: {found}")


# ---- what clients ask for at once


@test("blocking: silence while blocked, talk again after")
async def blocking(world: World) -> None:
    left, right = await world.pair()
    plugin = right.plugin["xep_0191"]
    await plugin.block(left.boundjid.bare)
    blocked = await plugin.get_blocked_jids()
    require(blocked == {left.boundjid.bare}, f"{blocked}")
    await left.see("unavailable", right.boundjid)
    refused = left.say(right.boundjid.bare, "can you hear me?")
    await eventually(lambda: any(m["type"] == "error" and m["id"] == refused["id"] for m in left.messages), "the error")
    await right.silence()
    require("can you hear me?" not in right.bodies(), "heard while blocked")
    try:
        right.say(left.boundjid.bare, "from behind the wall")
        await eventually(lambda: any(m["type"] == "error" for m in right.messages), "the error to the one who blocks")
    finally:
        await plugin.unblock(left.boundjid.bare)
    left.say(right.boundjid.bare, "and now?")
    await right.hear("and now?")


@test("vCard: set, read by oneself and by others")
async def vcard(world: World) -> None:
    left, right = await world.pair()
    card = left.plugin["xep_0054"].make_vcard()
    card["FN"] = "Léa Coucou"
    card["PHOTO"]["TYPE"] = "image/png"
    card["PHOTO"]["BINVAL"] = b"\x89PNG not really"
    await left.plugin["xep_0054"].publish_vcard(card)
    for bot, jid in ((left, None), (right, left.boundjid.bare)):
        answer = await bot.plugin["xep_0054"].get_vcard(jid, cached=False)
        require(answer["vcard_temp"]["FN"] == "Léa Coucou", f"{answer}")
        require(answer["vcard_temp"]["PHOTO"]["BINVAL"] == b"\x89PNG not really", f"{answer}")


@test("private storage keeps XML as it was")
async def private_storage(world: World) -> None:
    bot = await world.bot(world.user()).come()
    data = "<memory xmlns='urn:example:memory' a='&lt;&apos;&quot;'><of>past &amp; future</of><empty/></memory>"
    await request(bot, "set", f"<query xmlns='jabber:iq:private'>{data}</query>")
    answer = await request(bot, "get", "<query xmlns='jabber:iq:private'><memory xmlns='urn:example:memory'/></query>")
    found = answer.xml.find(".//{urn:example:memory}memory")
    require(found is not None and same(ET.tostring(found), data), f"{answer}")


def same(left: bytes | str, right: bytes | str) -> bool:
    """Whether two texts are the same XML, whatever their prefixes."""
    return len({ET.canonicalize(text, rewrite_prefixes=True) for text in (left, right)}) == 1


async def request(bot: Bot, kind: str, payload: str, to: str | None = None) -> slixmpp.Iq:
    iq = bot.make_iq(ito=to, itype=kind)
    iq.append(ET.fromstring(payload))
    return await iq.send(timeout=PATIENCE)


@test("service discovery: every feature on offer is answered")
async def discovery(world: World) -> None:
    left, right = await world.pair()
    disco = left.plugin["xep_0030"]
    server = (await disco.get_info(servers.DOMAIN))["disco_info"]
    require(("server", "im") in {identity[:2] for identity in server["identities"]}, f"{server}")
    account = (await disco.get_info(left.boundjid.bare))["disco_info"]
    require(("account", "registered") in {identity[:2] for identity in account["identities"]}, f"{account}")
    await disco.get_items(servers.DOMAIN)
    # Payload and the place to send it, for every feature that is a request.
    probes = {
        "jabber:iq:last": ("get", "<query xmlns='jabber:iq:last'/>"),
        "jabber:iq:version": ("get", "<query xmlns='jabber:iq:version'/>"),
        "urn:xmpp:time": ("get", "<time xmlns='urn:xmpp:time'/>"),
        "urn:xmpp:ping": ("get", "<ping xmlns='urn:xmpp:ping'/>"),
        "vcard-temp": ("get", "<vCard xmlns='vcard-temp'/>"),
        "urn:xmpp:blocking": ("get", "<blocklist xmlns='urn:xmpp:blocking'/>"),
        "urn:xmpp:carbons:2": ("set", "<enable xmlns='urn:xmpp:carbons:2'/>"),
        "urn:xmpp:mam:2": ("get", "<prefs xmlns='urn:xmpp:mam:2'/>"),
        "urn:xmpp:mam:2#extended": ("get", "<metadata xmlns='urn:xmpp:mam:2'/>"),
        "jabber:iq:private": ("get", "<query xmlns='jabber:iq:private'><x xmlns='urn:example:none'/></query>"),
        "jabber:iq:roster": ("get", "<query xmlns='jabber:iq:roster'/>"),
    }
    of_the_host = ("jabber:iq:last", "jabber:iq:version", "urn:xmpp:time", "urn:xmpp:ping")
    for owner, info in ((servers.DOMAIN, server), (left.boundjid.bare, account)):
        for feature in set(info["features"]) & set(probes):
            kind, payload = probes[feature]
            # A host also offers what its accounts have: those requests go to the account.
            to = owner if owner == servers.DOMAIN and feature in of_the_host else None
            try:
                await request(left, kind, payload, to)
            except IqError as error:
                if feature == "vcard-temp" and error.condition == "item-not-found":
                    # There is none yet (XEP-0054, 3.1).
                    continue
                raise Failure(f"{owner} offers {feature} and answers {error.iq}") from None


@test("unknown requests are answered by errors, to the server, to oneself and to others")
async def unknown_requests(world: World) -> None:
    left, right = await world.pair()
    for to in (None, servers.DOMAIN, left.boundjid.bare, right.boundjid.bare, right.boundjid.full):
        try:
            await request(left, "get", "<query xmlns='urn:example:unknown'/>", to)
        except IqError as error:
            condition = error.iq["error"]["condition"]
            require(condition in ("service-unavailable", "feature-not-implemented"), f"{to}: {condition}")
        else:
            raise Failure(f"{to}: answered by a result")


@test("ping, time, version and last activity of the server and of a contact")
async def small_services(world: World) -> None:
    left, right = await world.pair()
    for jid in (servers.DOMAIN, right.boundjid.full):
        await left.plugin["xep_0199"].send_ping(jid)
    version = (await left.plugin["xep_0092"].get_version(servers.DOMAIN))["software_version"]
    require(version["name"], f"{version}")
    time_iq = await request(left, "get", "<time xmlns='urn:xmpp:time'/>", servers.DOMAIN)
    utc = time_iq.xml.findtext(".//{urn:xmpp:time}utc")
    require(utc and utc.endswith("Z") and time_iq.xml.findtext(".//{urn:xmpp:time}tzo"), f"{time_iq}")
    uptime = await left.plugin["xep_0012"].get_last_activity(servers.DOMAIN)
    require(uptime["last_activity"]["seconds"] is not None, f"{uptime}")
    await right.leave()
    await left.see("unavailable", right.boundjid)
    # The leave is seen before it is on the disk.
    for _ in range(20):
        try:
            idle = await left.plugin["xep_0012"].get_last_activity(right.boundjid.bare)
            break
        except IqError as error:
            require(error.condition == "item-not-found", f"{error.iq}")
            await asyncio.sleep(PATIENCE / 20)
    else:
        raise Failure("it is never known when a contact was last seen")
    require(0 <= idle["last_activity"]["seconds"] < 60, f"{idle}")
    stranger = await world.bot(world.user()).come()
    try:
        await stranger.plugin["xep_0012"].get_last_activity(right.boundjid.bare)
    except IqError as error:
        require(error.condition in ("forbidden", "not-authorized", "subscription-required", "service-unavailable"), error)
    else:
        raise Failure("a stranger learns when somebody was last seen")


@test("client state: inactive holds presence back, not messages")
async def client_state(world: World) -> None:
    left, right = await world.pair()
    right.plugin["xep_0352"].send_inactive()
    await right.silence()
    left.send_presence(pshow="dnd", pstatus="held back")
    left.say(right.boundjid.bare, "urgent")
    await right.hear("urgent")
    right.plugin["xep_0352"].send_active()
    await eventually(lambda: any(p["status"] == "held back" for p in right.presences), "the presence that was held back")


class Command:
    """One ad-hoc command as slixmpp's XEP-0050 plugin runs it: stages come in, answers go out."""

    def __init__(self, bot: Bot, start) -> None:
        self.plugin = bot.plugin["xep_0050"]
        self.stages: asyncio.Queue = asyncio.Queue()
        self.session = {"next": self.keep, "error": self.keep}
        start(jid=servers.DOMAIN, session=self.session)

    def keep(self, iq, session) -> None:
        self.session = session
        self.stages.put_nowait(iq)

    async def stage(self):
        iq = await asyncio.wait_for(self.stages.get(), PATIENCE)
        require(iq["type"] == "result", f"{iq}")
        return iq["command"]

    async def answer(self, **fields):
        form = (await self.stage())["form"]
        require(form["type"] == "form", f"{form}")
        require(set(fields) <= set(form.get_fields()), f"{form}")
        form.reply()
        form["type"] = "submit"
        form["values"] = fields
        self.session["payload"] = form
        self.plugin.complete_command(self.session)
        return await self.stage()


@test("commands: an administrator runs those of XEP-0133, others do not see them")
async def commands(world: World) -> None:
    if world.server.kind != "coucou":
        return
    admin = await world.bot(servers.ADMIN, "admin").come()
    other = await world.bot(world.user(), "a").come()
    for bot in (admin, other):
        bot.register_plugin("xep_0050")
        bot.register_plugin("xep_0133")

    async def nodes(bot):
        items = (await bot.plugin["xep_0133"].get_commands(servers.DOMAIN))["disco_items"]["items"]
        return {node for _, node, _ in items}

    listed = await nodes(admin)
    for name in ("add-user", "get-online-users-num", "end-user-session", "announce"):
        require(f"http://jabber.org/protocol/admin#{name}" in listed, f"{name}: {listed}")
    require(not any("admin#" in node for node in await nodes(other)), "a stranger sees the commands")
    service = admin.plugin["xep_0133"]
    command = await Command(admin, service.get_online_users_num).stage()
    require(command["status"] == "completed", f"{command}")
    require(int(command["form"]["values"]["onlineusersnum"]) >= 2, f"{command}")
    jid = f"made-by-command@{servers.DOMAIN}"
    password = "correct horse battery"
    fields = {"accountjid": jid, "password": password, "password-verify": password}
    command = await Command(admin, service.add_user).answer(**fields)
    require(command["status"] == "completed", f"{command}")
    made = await world.bot("made-by-command", "x", password=password).come()
    command = await Command(admin, service.end_user_session).answer(accountjids=[jid])
    require(command["status"] == "completed", f"{command}")
    await eventually(lambda: "disconnected" in made.events, "the session to end")
    command = await Command(admin, service.announce).answer(announcement="Hark")
    require(command["status"] == "completed", f"{command}")
    await other.hear("Hark")
    command = await Command(admin, service.delete_user).answer(accountjids=[jid])
    require(command["status"] == "completed", f"{command}")
    refused = Command(other, other.plugin["xep_0133"].add_user)
    iq = await asyncio.wait_for(refused.stages.get(), PATIENCE)
    require(iq["type"] == "error" and iq["error"]["condition"] == "forbidden", f"{iq}")


@test("invitations: a contact is invited by command and let in by the token")
async def invitations(world: World) -> None:
    if world.server.kind != "coucou":
        return
    left, right = await world.bot(world.user(), "a").come(), await world.bot(world.user(), "b").come()
    left.register_plugin("xep_0050")

    def start(jid, session):
        left.plugin["xep_0050"].start_command(jid, "urn:xmpp:invite#invite", session)

    command = await Command(left, start).stage()
    uri = command["form"]["values"]["uri"]
    require(uri.startswith(f"xmpp:{left.boundjid.bare}?roster;preauth="), uri)
    request = right.make_presence(pto=left.boundjid.bare, ptype="subscribe")
    ET.SubElement(request.xml, "{urn:xmpp:pars:0}preauth", token=uri.split("preauth=")[1].split(";")[0])
    request.send()
    await right.see("subscribed", left.boundjid.bare)
    await right.see("subscribe", left.boundjid.bare)
    right.send_presence_subscription(pto=left.boundjid.bare, ptype="subscribed")
    await left.see("subscribed", right.boundjid.bare)
    await right.see("available", left.boundjid)


@test("rooms: made, set up, entered, spoken in, read later, closed to who is banned")
async def rooms(world: World) -> None:
    if world.server.kind != "coucou":
        return
    owner, guest = await world.bot(world.user(), "a").come(), await world.bot(world.user(), "b").come()
    room = slixmpp.JID(f"{secrets.token_hex(4)}@conference.{servers.DOMAIN}")
    for bot in (owner, guest):
        bot.register_plugin("xep_0045")
    muc = owner.plugin["xep_0045"]
    await muc.join_muc_wait(room, "Owner", timeout=PATIENCE)
    form = await muc.get_room_config(room)
    form["type"] = "submit"
    form.get_fields()["muc#roomconfig_roomname"]["value"] = "Tea"
    await muc.set_room_config(room, form)
    await guest.plugin["xep_0045"].join_muc_wait(room, "Guest", timeout=PATIENCE)
    require(set(guest.plugin["xep_0045"].get_roster(room)) == {"Owner", "Guest"}, "who is there")
    guest.send_message(mto=room, mbody="milk first", mtype="groupchat")
    await owner.hear("milk first")
    await guest.hear("milk first")
    heard = next(m for m in owner.messages if m["body"] == "milk first")
    require(heard["from"].resource == "Guest", f"{heard}")
    found = [m async for m in owner.plugin["xep_0313"].iterate(jid=room)]
    require([m["mam_result"]["forwarded"]["stanza"]["body"] for m in found][-1:] == ["milk first"], f"{found}")
    await muc.set_affiliation(room, "outcast", jid=guest.boundjid.bare)
    await guest.see("unavailable", slixmpp.JID(f"{room}/Guest"))
    try:
        await guest.plugin["xep_0313"].retrieve(jid=room)
        raise Failure("who is banned reads the archive")
    except IqError as error:
        require(error.condition == "forbidden", error.condition)
    await muc.destroy(room, "", "")


async def run(server, only: str, checks: Checks) -> None:
    world = World(server)
    for name, function in TESTS:
        if only in name:
            await checks.run(name, function(world))
            await world.clear()


def main() -> int:
    parser = argparse.ArgumentParser(description="Try a server with slixmpp.")
    parser.add_argument("--server", choices=["coucou", "prosody", "ejabberd"], default="coucou")
    parser.add_argument("--only", default="", help="tests whose name contains this")
    options = parser.parse_args()
    # slixmpp tells of every cut connection as of a fault.
    logging.disable(logging.CRITICAL)
    checks = Checks()
    with servers.make(options.server, USERS) as server:
        asyncio.run(run(server, options.only, checks))
    print(f"{checks.passed} passed, {checks.failed} failed, {checks.skipped} skipped")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
