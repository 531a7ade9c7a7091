#!/usr/bin/env python3
"""slixmpp's own integration tests, from its source package.

They expect a Prosody named by DNS on the usual ports; here their clients are led to a server on
loopback, and nothing else about them is changed.

usage: itests.py --source DIR [--server coucou|prosody|ejabberd]
"""

import argparse
import asyncio
import importlib
import logging
import os
import pathlib
import ssl
import sys
import unittest

import slixmpp

import servers
from checks import Checks
from client import Client

# Modules that ask for what a server of accounts and archives alone does not have.
SKIPPED = {
    "test_component": "needs a component of a fixed name",
    "test_httpupload": "needs the upload service",
    "test_moderate": "needs rooms",
    "test_muc": "needs rooms",
    "test_selfping": "needs rooms",
    "test_sos": "needs a web server with a status page",
    "test_tls_check": "has ports 5222 and 5223 built in; slix.py tries STARTTLS and direct TLS",
}
NEED_PEP = ("test_pep", "test_user_avatar")


def lead_clients_to(server) -> None:
    """Makes every slixmpp client connect to `server` and take its self-signed certificate."""
    plain_connect = slixmpp.ClientXMPP.connect
    plain_context = slixmpp.ClientXMPP.get_ssl_context

    def connect(self, *_arguments, **_options):
        self.enable_direct_tls = False
        return plain_connect(self, "127.0.0.1", server.port)

    def get_ssl_context(self) -> ssl.SSLContext:
        context = plain_context(self)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    slixmpp.ClientXMPP.connect = connect
    slixmpp.ClientXMPP.get_ssl_context = get_ssl_context


async def befriend(server) -> None:
    """Subscribes the two accounts to each other: who is none's contact is told no last activity."""
    left, right = (Client(server, f"u{number}", servers.PASSWORD) for number in (0, 1))
    await left.login()
    await right.login()
    for one, other in ((left, right), (right, left)):
        one.send_stanza("<presence/>")
        # Approved before it is asked for (RFC 6121, 3.4), so there is nothing to wait for.
        other.send_stanza(f"<presence type='subscribed' to='{one.bare}'/>")
        await other.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        one.send_stanza(f"<presence type='subscribe' to='{other.bare}'/>")
        await one.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    await left.close()
    await right.close()


class Lines(unittest.TestResult):
    """Tells `checks` how each test ended."""

    def __init__(self, checks: Checks, module: str) -> None:
        super().__init__()
        self.checks = checks
        self.module = module

    def name(self, test: unittest.TestCase) -> str:
        return f"{self.module}: {test.shortDescription() or test.id().rsplit('.', 1)[-1]}"

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.checks.passes(self.name(test))

    def addError(self, test: unittest.TestCase, err) -> None:
        self.checks.fails(self.name(test), self._exc_info_to_string(err, test))

    addFailure = addError

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.checks.skips(self.name(test), reason)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run slixmpp's integration tests.")
    parser.add_argument("--source", type=pathlib.Path, required=True, help="unpacked source package of slixmpp")
    parser.add_argument("--server", choices=["coucou", "prosody", "ejabberd"], default="coucou")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    sys.path.insert(0, str(options.source))
    checks = Checks()
    with servers.make(options.server, 2) as server:
        asyncio.run(befriend(server))
        lead_clients_to(server)
        for number in (1, 2):
            os.environ[f"CI_ACCOUNT{number}"] = f"u{number - 1}@{servers.DOMAIN}"
            os.environ[f"CI_ACCOUNT{number}_PASSWORD"] = servers.PASSWORD
        for path in sorted((options.source / "itests").glob("test_*.py")):
            if path.stem in SKIPPED:
                checks.skips(path.stem, SKIPPED[path.stem])
            elif path.stem in NEED_PEP and not server.has_pep:
                checks.skips(path.stem, "needs PEP")
            else:
                importlib.import_module(f"itests.{path.stem}").suite.run(Lines(checks, path.stem))
    print(f"{checks.passed} passed, {checks.failed} failed, {checks.skipped} skipped")
    return 1 if checks.failed or not checks.passed else 0


if __name__ == "__main__":
    sys.exit(main())
