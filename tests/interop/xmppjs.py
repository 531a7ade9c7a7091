#!/usr/bin/env python3
"""Starts a server for the xmpp.js test.

usage: xmppjs.py [--server coucou|prosody|ejabberd]
"""

import argparse
import pathlib
import subprocess
import sys

import servers


def main() -> int:
    parser = argparse.ArgumentParser(description="Try a server with xmpp.js.")
    parser.add_argument("--server", choices=["coucou", "prosody", "ejabberd"], default="coucou")
    options = parser.parse_args()
    script = pathlib.Path(__file__).parent / "xmppjs/test.mjs"
    with servers.make(options.server, 2) as server:
        arguments = [server.kind, str(server.port), str(server.tls_port), servers.DOMAIN, servers.PASSWORD]
        return subprocess.run(["node", str(script), *arguments], timeout=300).returncode


if __name__ == "__main__":
    sys.exit(main())
