"""Logs a slixmpp client in by STARTTLS and by direct TLS, and pings the server each time.

Usage: smoke.py JID PASSWORD STARTTLS_PORT TLS_PORT
"""

import asyncio
import ssl
import sys

import slixmpp

PATIENCE_SECONDS = 60


class Client(slixmpp.ClientXMPP):
    def get_ssl_context(self) -> ssl.SSLContext:
        # The certificate is self-signed; what is under test is the server.
        context = super().get_ssl_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


async def log_in(jid: str, password: str, port: int, direct_tls: bool) -> None:
    client = Client(jid, password)
    client.register_plugin("xep_0199")
    client.enable_direct_tls = direct_tls
    client.enable_starttls = not direct_tls
    started = asyncio.get_running_loop().create_future()
    client.add_event_handler("session_start", lambda _: started.set_result(None))
    for failure in ("failed_all_auth", "connection_failed", "stream_error"):
        client.add_event_handler(
            failure, lambda what: started.done() or started.set_exception(RuntimeError(str(what)))
        )
    client.connect("127.0.0.1", port)
    await asyncio.wait_for(started, PATIENCE_SECONDS)
    round_trip = await client.plugin["xep_0199"].ping(
        client.boundjid.host, timeout=PATIENCE_SECONDS
    )
    how = "direct TLS" if direct_tls else "STARTTLS"
    print(f"{client.boundjid.full} logged in by {how}, ping {round_trip * 1000:.0f} ms")
    await client.disconnect()


async def main() -> None:
    jid, password, starttls_port, tls_port = sys.argv[1:]
    await log_in(jid, password, int(starttls_port), direct_tls=False)
    await log_in(jid, password, int(tls_port), direct_tls=True)


asyncio.run(main())
