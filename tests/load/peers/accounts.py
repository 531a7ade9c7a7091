#!/usr/bin/env python3
"""Create accounts u0 … u(N-1) in a peer's SQLite database, all with one password.

usage: accounts.py prosody|ejabberd DATABASE DOMAIN N PASSWORD ITERATIONS

Both servers register one account at a time, by a program that takes a second to start or by a
hash of ten milliseconds. Here one SCRAM-SHA-1 key serves all, which is fine for a load test:
the server's work at login does not depend on it.
"""

import base64
import hashlib
import hmac
import sqlite3
import sys

SALT = b"coucou-load-salt"


def scram_keys(password: str, iterations: int) -> tuple[bytes, bytes]:
    """StoredKey and ServerKey of RFC 5802, section 3."""
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), SALT, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha1")
    return hashlib.sha1(client_key).digest(), hmac.digest(salted, b"Server Key", "sha1")


def prosody(database: sqlite3.Connection, domain: str, count: int, password: str, iterations: int) -> None:
    stored, server = scram_keys(password, iterations)
    values = [
        ("iteration_count", "number", str(iterations)),
        ("salt", "string", SALT.decode()),
        ("stored_key", "string", stored.hex()),
        ("server_key", "string", server.hex()),
    ]
    database.executemany(
        'INSERT INTO prosody (host, "user", store, "key", type, value) VALUES (?, ?, ?, ?, ?, ?)',
        ((domain, f"u{i}", "accounts", *value) for i in range(count) for value in values),
    )


def ejabberd(database: sqlite3.Connection, _domain: str, count: int, password: str, iterations: int) -> None:
    stored, server, salt = (base64.b64encode(part).decode() for part in (*scram_keys(password, iterations), SALT))
    database.executemany(
        "INSERT INTO users (username, password, serverkey, salt, iterationcount) VALUES (?, ?, ?, ?, ?)",
        ((f"u{i}", stored, server, salt, iterations) for i in range(count)),
    )


def main() -> None:
    peer, path, domain, count, password, iterations = sys.argv[1:]
    database = sqlite3.connect(path, timeout=30)
    with database:
        {"prosody": prosody, "ejabberd": ejabberd}[peer](database, domain, int(count), password, int(iterations))
    database.close()


if __name__ == "__main__":
    main()
