"""A small XMPP client for tests: it shows the protocol as it is, and hides nothing.

Client libraries repair, retry and remember on their own. The kill loop needs to know exactly what
was sent, what the server acknowledged, and what arrived.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import secrets
import ssl
import xml.etree.ElementTree as ET
from collections import deque
from xml.sax.saxutils import escape, quoteattr

from checks import PATIENCE, Failure, require

CLIENT = "{jabber:client}"
SM = "urn:xmpp:sm:3"
STANZAS = {CLIENT + name for name in ("message", "presence", "iq")}


class Disconnected(Exception):
    """The connection ended, by whomever."""


class Client:
    """One account's client. It may connect many times; stream management carries over."""

    def __init__(self, server, user: str, password: str, on_message=None) -> None:
        self.server = server
        self.user = user
        self.password = password
        self.domain = "localhost"
        self.on_message = on_message or (lambda message: None)
        self.on_acknowledged = lambda stanza: None
        self.jid = ""
        self.features: ET.Element | None = None
        # Stream management (XEP-0198).
        self.sm_id: str | None = None
        self.handled = 0
        self.acknowledged = 0
        self.unacknowledged: deque[tuple[object, str]] = deque()
        self.counting = False
        self._ids = itertools.count()
        self._answers: dict[str, asyncio.Future] = {}
        self._nonzas: asyncio.Queue = asyncio.Queue()
        self._reader_task: asyncio.Task | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.lost = asyncio.Event()
        self.fault: Exception | None = None

    @property
    def bare(self) -> str:
        return f"{self.user}@{self.domain}"

    # ---- connecting

    async def connect(self, mechanism: str | None = None, direct: bool = True) -> None:
        """Connects and authenticates, by SCRAM unless told how; neither binds nor resumes."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.counting = False
        await self._forget_connection()
        if direct:
            context.set_alpn_protocols(["xmpp-client"])
            reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self.server.tls_port, ssl=context, server_hostname=self.domain
            )
            self._read_from(reader)
        else:
            reader, self._writer = await asyncio.open_connection("127.0.0.1", self.server.port)
            self._read_from(reader)
            await self._open()
            self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            await self._nonza("{urn:ietf:params:xml:ns:xmpp-tls}proceed")
            await self._stop_reading()
            await self._writer.start_tls(context, server_hostname=self.domain)
            self._read_from(reader)
        await self._open()
        await self._authenticate(mechanism or self._usual_mechanism())
        await self._open()

    def mechanisms(self) -> set[str]:
        """What the server offers at this point of the stream."""
        tag = "{urn:ietf:params:xml:ns:xmpp-sasl}mechanism"
        return {element.text or "" for element in self.features.iter(tag)}

    def _usual_mechanism(self) -> str:
        offered = self.mechanisms()
        usual = [name for name in ("SCRAM-SHA-256", "SCRAM-SHA-1") if name in offered]
        require(usual, f"the server offers only {offered}")
        return usual[0]

    async def login(self, resource: str | None = None, manage: bool = True, **options) -> None:
        """Connects and binds a new session, with stream management if `manage`."""
        await self.connect(**options)
        name = f"<resource>{escape(resource)}</resource>" if resource else ""
        answer = await self.iq("set", f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{name}</bind>")
        self.jid = answer.findtext(".//{urn:ietf:params:xml:ns:xmpp-bind}jid") or ""
        require(self.jid, f"no bound JID in {show(answer)}")
        self.sm_id = None
        if manage:
            self.send(f"<enable xmlns='{SM}' resume='true'/>")
            enabled = await self._nonza(f"{{{SM}}}enabled")
            self.sm_id = enabled.get("id")

    async def resume(self, **options) -> bool:
        """Connects and resumes the last session; what the server has not handled is sent again.
        False if the server has forgotten the session."""
        await self.connect(**options)
        self.send(f"<resume xmlns='{SM}' h='{self.handled}' previd={quoteattr(self.sm_id or '')}/>")
        # Nothing comes between this answer and the stanzas that the session missed.
        self.counting = True
        answer = await self._nonza(f"{{{SM}}}resumed", f"{{{SM}}}failed")
        if not answer.tag.endswith("resumed"):
            self.counting = False
            return False
        self._acknowledge_up_to(int(answer.get("h")))
        for _, text in self.unacknowledged:
            self.send(text)
        return True

    async def _open(self) -> None:
        self._parser = ET.XMLPullParser(("start", "end"))
        self._depth = 0
        self.send(
            f"<?xml version='1.0'?><stream:stream to='{self.domain}' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        self.features = await self._nonza("{http://etherx.jabber.org/streams}features")

    async def _authenticate(self, mechanism: str) -> None:
        sasl = "urn:ietf:params:xml:ns:xmpp-sasl"
        if mechanism == "PLAIN":
            first, step = f"\0{self.user}\0{self.password}", None
        else:
            step = self._scram(mechanism)
            first = next(step)
        self.send(f"<auth xmlns='{sasl}' mechanism='{mechanism}'>{encode(first)}</auth>")
        names = [f"{{{sasl}}}{name}" for name in ("challenge", "success", "failure")]
        while True:
            answer = await self._nonza(*names)
            if answer.tag.endswith("failure"):
                raise Failure(f"{mechanism}: {show(answer)}")
            if answer.tag.endswith("success"):
                if step:
                    step.send(base64.b64decode(answer.text or "").decode())
                return
            reply = step.send(base64.b64decode(answer.text or "").decode())
            self.send(f"<response xmlns='{sasl}'>{encode(reply)}</response>")

    def _scram(self, mechanism: str):
        """The client's side of RFC 5802 as a generator of its messages."""
        plus = mechanism.endswith("-PLUS")
        algorithm = mechanism.removesuffix("-PLUS").removeprefix("SCRAM-").replace("-", "").lower()
        header, binding = "n,,", b""
        if plus:
            header = "p=tls-server-end-point,,"
            certificate = self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            # RFC 5929: the hash of the certificate's signature algorithm; ECDSA with SHA-256 here.
            binding = hashlib.sha256(certificate).digest()
        nonce = secrets.token_urlsafe(18)
        bare = f"n={self.user},r={nonce}"
        challenge = yield header + bare
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        require(fields["r"].startswith(nonce), f"foreign nonce in {challenge}")
        salt = base64.b64decode(fields["s"])
        salted = hashlib.pbkdf2_hmac(algorithm, self.password.encode(), salt, int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", algorithm)
        stored_key = hashlib.new(algorithm, client_key).digest()
        final = f"c={encode(header.encode() + binding)},r={fields['r']}"
        signed = f"{bare},{challenge},{final}".encode()
        signature = hmac.digest(stored_key, signed, algorithm)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        verdict = yield f"{final},p={encode(proof)}"
        server_key = hmac.digest(salted, b"Server Key", algorithm)
        expected = "v=" + encode(hmac.digest(server_key, signed, algorithm))
        require(verdict == expected, f"server signature {verdict}, expected {expected}")
        yield ""

    # ---- sending

    def send(self, text: str) -> None:
        if self._writer is None or self._writer.is_closing():
            raise Disconnected
        self._writer.write(text.encode())

    def send_stanza(self, text: str, key: object = None) -> None:
        """Sends a stanza; `key` is handed to `on_acknowledged` once the server has taken it."""
        if self.counting:
            self.unacknowledged.append((key, text))
        self.send(text)

    def send_message(self, to: str, body: str, key: object = None, extra: str = "") -> str:
        """Sends a chat message with the id `key`, or one of its own, which is returned."""
        name = str(key if key is not None else f"m{next(self._ids)}-{secrets.token_hex(4)}")
        self.send_stanza(
            f"<message type='chat' to={quoteattr(to)} id={quoteattr(name)}>"
            f"<body>{escape(body)}</body>{extra}</message>",
            name,
        )
        return name

    def request_acknowledgement(self) -> None:
        self.send(f"<r xmlns='{SM}'/>")

    async def iq(self, kind: str, payload: str, to: str | None = None, check: bool = True) -> ET.Element:
        """Sends a request and returns its answer; an error raises unless `check` is false."""
        name = f"q{next(self._ids)}"
        answer = asyncio.get_running_loop().create_future()
        self._answers[name] = answer
        address = f" to={quoteattr(to)}" if to else ""
        self.send_stanza(f"<iq type='{kind}' id='{name}'{address}>{payload}</iq>")
        try:
            async with asyncio.timeout(PATIENCE):
                result = await answer
        except TimeoutError:
            raise Failure(f"no answer to {payload}") from None
        finally:
            del self._answers[name]
        if check and result.get("type") == "error":
            raise Failure(f"{payload} was answered by {show(result)}")
        return result

    async def archive(self, page: int = 100) -> list[tuple[str, ET.Element]]:
        """All archived messages, oldest first, with their archive ids (XEP-0313)."""
        found: list[tuple[str, ET.Element]] = []
        earlier, self.on_message = self.on_message, lambda message: found.extend(archived(message))
        try:
            after = ""
            while True:
                answer = await self.iq(
                    "set",
                    "<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>"
                    f"<max>{page}</max>{after}</set></query>",
                )
                fin = answer.find("{urn:xmpp:mam:2}fin")
                require(fin is not None, f"no <fin/> in {show(answer)}")
                last = fin.findtext(".//{http://jabber.org/protocol/rsm}last")
                if fin.get("complete") in ("true", "1") or not last:
                    return found
                after = f"<after>{escape(last)}</after>"
        finally:
            self.on_message = earlier

    def cut(self) -> None:
        """Drops the connection without a word."""
        if self._writer:
            self._writer.transport.abort()

    async def _forget_connection(self) -> None:
        self.cut()
        self._writer = None
        await self._stop_reading()
        self._nonzas = asyncio.Queue()

    async def _stop_reading(self) -> None:
        if self._reader_task:
            self._reader_task.cancel()
            await asyncio.gather(self._reader_task, return_exceptions=True)

    async def close(self) -> None:
        """Ends the session properly."""
        if self.counting:
            self.send(f"<a xmlns='{SM}' h='{self.handled}'/>")
        self.send("</stream:stream>")
        async with asyncio.timeout(PATIENCE):
            await self.lost.wait()
        self._writer.close()

    # ---- receiving

    def _read_from(self, reader: asyncio.StreamReader) -> None:
        self.lost = asyncio.Event()
        self._parser = ET.XMLPullParser(("start", "end"))
        self._depth = 0
        self._reader_task = asyncio.create_task(self._read(reader, self.lost))

    async def _read(self, reader: asyncio.StreamReader, lost: asyncio.Event) -> None:
        try:
            while piece := await reader.read(65536):
                self._parser.feed(piece)
                self._take_events()
                await self._writer.drain()
        except asyncio.CancelledError:
            return
        except OSError:
            pass
        except Exception as fault:  # Nonsense from the server, which nobody awaits here.
            self.fault = fault
        lost.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Disconnected())
        self._nonzas.put_nowait(None)

    def _take_events(self) -> None:
        parser = self._parser
        for event, element in parser.read_events():
            if parser is not self._parser:
                return
            if event == "start":
                if self._depth == 0:
                    self._root = element
                self._depth += 1
                continue
            self._depth -= 1
            if self._depth == 1:
                self._take(element)
                self._root.clear()

    def _take(self, element: ET.Element) -> None:
        if element.tag not in STANZAS:
            if element.tag == f"{{{SM}}}r":
                self.send(f"<a xmlns='{SM}' h='{self.handled}'/>")
            elif element.tag == f"{{{SM}}}a":
                self._acknowledge_up_to(int(element.get("h")))
            else:
                if element.tag == f"{{{SM}}}enabled":
                    # Now, not when whoever waits for it wakes up: stanzas may follow.
                    self.handled = self.acknowledged = 0
                    self.unacknowledged.clear()
                    self.counting = True
                self._nonzas.put_nowait(element)
            return
        if self.counting:
            self.handled = (self.handled + 1) % 2**32
        if element.tag == CLIENT + "iq":
            if element.get("type") in ("result", "error"):
                answer = self._answers.get(element.get("id"))
                if answer and not answer.done():
                    answer.set_result(element)
            else:
                self._refuse(element)
        elif element.tag == CLIENT + "message":
            self.on_message(element)

    def _refuse(self, request: ET.Element) -> None:
        """Every request is answered (RFC 6120, 8.2.3); roster pushes and pings with a result."""
        known = request.find("{jabber:iq:roster}query") is not None or request.find("{urn:xmpp:ping}ping") is not None
        address = f" to={quoteattr(request.get('from'))}" if request.get("from") else ""
        head = f"id={quoteattr(request.get('id') or '')}{address}"
        if known:
            self.send_stanza(f"<iq type='result' {head}/>")
        else:
            condition = "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            self.send_stanza(f"<iq type='error' {head}><error type='cancel'>{condition}</error></iq>")

    def _acknowledge_up_to(self, h: int) -> None:
        count = (h - self.acknowledged) % 2**32
        require(count <= len(self.unacknowledged), f"{self.user}: h={h} counts stanzas never sent")
        self.acknowledged = h
        for _ in range(count):
            key, _ = self.unacknowledged.popleft()
            self.on_acknowledged(key)

    async def _nonza(self, *tags: str) -> ET.Element:
        """The next top-level element that is no stanza; it must be one of `tags`."""
        try:
            async with asyncio.timeout(PATIENCE):
                element = await self._nonzas.get()
        except TimeoutError:
            raise Failure(f"no {' or '.join(tags)} came") from None
        if element is None:
            raise Disconnected
        require(element.tag in tags, f"expected {' or '.join(tags)}, got {show(element)}")
        return element


def archived(message: ET.Element):
    """The archive id and the message in a result of a query."""
    result = message.find("{urn:xmpp:mam:2}result")
    if result is not None:
        inner = result.find("{urn:xmpp:forward:0}forwarded/{jabber:client}message")
        yield result.get("id"), inner


def encode(data: str | bytes) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def show(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode")
