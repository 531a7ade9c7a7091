"""The HTTP API as others use it: a client that was written for ejabberd, and schemathesis with all
its checks against the document that the server hands out."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import requests

from checks import Checks
from servers import DOMAIN, PASSWORD, Coucou, accepts, free_ports

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA_SECONDS_MAX = 80


class ApiServer(Coucou):
    """Coucou with its API on a loopback port, and u0 as somebody who may everything."""

    def __init__(self) -> None:
        super().__init__(3)
        (self.http,) = free_ports(1)
        text = self.config.read_text().replace("[listen]\n", f'[listen]\nhttp = ["127.0.0.1:{self.http}"]\n')
        self.config.write_text(
            text
            + "[api]\nenabled = true\nversion = 0\n"
            + f'[api.permissions."admin access"]\nwho = [{{ allow = {{ user = "u0@{DOMAIN}" }} }}]\nwhat = ["*"]\n'
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def key(self, *words: str) -> str:
        outcome = self.cli("api-key", "create", "interop", "--json", "--allow", *words)
        if outcome.returncode:
            raise RuntimeError(outcome.stderr)
        return json.loads(outcome.stdout)["key"]


def ejabberd_client(server: ApiServer, checks: Checks) -> None:
    """EjabberdAPI of PyPI: Basic authentication, POST, the results of API version 0."""
    from ejabberdapi import Ejabberd  # type: ignore

    # It reads its settings from a file below the working directory.
    with tempfile.TemporaryDirectory() as folder:
        secrets = pathlib.Path(folder) / "secrets"
        secrets.mkdir()
        (secrets / "ejabberd_secrets.txt").write_text(
            f"api_base_url: {server.url}\nlocal_vhost: {DOMAIN}\n"
            f"admin_account: u0@{DOMAIN}\nadmin_pass: {PASSWORD}\n"
        )
        os.chdir(folder)
        client = Ejabberd()
        os.chdir(HERE)

    def call(name: str, ask) -> object:
        try:
            return ask()
        except Exception as error:  # Whatever the client makes of an answer.
            return f"{type(error).__name__} {error}"

    status = call("status", client.status)
    checks.expect("ejabberdapi: status", isinstance(status, str) and "is running" in status, status)
    known = call("check_account", lambda: client.check_account("u1", DOMAIN))
    checks.expect("ejabberdapi: check_account of an account", known is True, known)
    unknown = call("check_account", lambda: client.check_account("nobody", DOMAIN))
    checks.expect("ejabberdapi: check_account of none", unknown is False, unknown)
    made = call("register", lambda: client.register("dora", DOMAIN, "correct horse battery"))
    good = isinstance(made, tuple) and made[0] is True
    checks.expect("ejabberdapi: register", good and "successfully registered" in made[1], made)
    gone = call("unregister", lambda: client.unregister("dora", DOMAIN))
    checks.expect("ejabberdapi: unregister", gone == (True, False), gone)
    unknown = call("check_account", lambda: client.check_account("dora", DOMAIN))
    checks.expect("ejabberdapi: the account is gone", unknown is False, unknown)
    stats = call("stats", client.stats)
    good = isinstance(stats, dict) and stats.get("registeredusers") == 3
    checks.expect("ejabberdapi: stats", good, stats)


def as_scripts_do(server: ApiServer, checks: Checks) -> None:
    """What scripts with curl do."""
    session = requests.Session()
    session.auth = (f"u0@{DOMAIN}", PASSWORD)

    def post(name: str, **arguments: object) -> requests.Response:
        return session.post(f"{server.url}/api/{name}", json=arguments, timeout=20)

    right = post("check_password", user="u1", host=DOMAIN, password=PASSWORD)
    checks.expect("check_password says 0", (right.status_code, right.json()) == (200, 0), right.text)
    wrong = post("check_password", user="u1", host=DOMAIN, password="no")
    checks.expect("check_password says 1", (wrong.status_code, wrong.json()) == (200, 1), wrong.text)
    number = post("connected_users_number")
    checks.expect("version 0 names a number", number.json() == {"num_sessions": 0}, number.text)
    number = session.post(f"{server.url}/api/connected_users_number/v2", json={}, timeout=20)
    checks.expect("version 2 does not", number.json() == 0, number.text)
    taken = post("register", user="u1", host=DOMAIN, password="correct horse battery")
    body = taken.json()
    good = taken.status_code == 409 and body["status"] == "error" and body["code"] == 10090
    checks.expect("a name that is taken is a conflict", good, taken.text)
    nothing = post("no_such_command")
    checks.expect("an unknown command is not found", nothing.status_code == 404, nothing.text)
    form = session.post(f"{server.url}/api/status", data="{}", timeout=20)
    checks.expect("curl -d without a type is understood", form.status_code == 200, form.text)


def schema(server: ApiServer, checks: Checks, seconds: int) -> None:
    """schemathesis, all checks, an API key that may all that keys may."""
    key = server.key("*")
    document = requests.get(
        f"{server.url}/api/openapi.json", headers={"Authorization": f"Bearer {key}"}, timeout=20
    ).json()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file)
        file.flush()
        command = [
            str(pathlib.Path(sys.executable).with_name("st")), "--config-file", str(HERE / "schemathesis.toml"),
            "--no-color", "run", file.name, "--url", server.url, "--checks", "all",
            "--header", f"Authorization: Bearer {key}", "--phases", "examples,coverage,fuzzing",
            "--max-examples", "3", "--seed", "1", "--workers", "1", "--max-failures", "40",
            "--continue-on-failure", "--warnings", "off", "--suppress-health-check", "all",
            "--generation-database", "none",
        ]
        try:
            outcome = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
            text, code = outcome.stdout, outcome.returncode
        except subprocess.TimeoutExpired as expired:
            text, code = (expired.stdout or b"").decode(), "took too long"
    print(text[-6000:] if code else "\n".join(text.splitlines()[-12:]))
    checks.expect(f"schemathesis on {len(document['paths'])} operations", code == 0, code)
    up = requests.get(f"{server.url}/healthz", timeout=20)
    checks.expect("the server is up afterwards", up.text == "up\n", up.text)
    log = (server.directory / "serve.log").read_text()
    checks.expect("no panic in the log", "panicked" not in log, log[-2000:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["ejabberdapi", "schema"], required=True)
    parser.add_argument("--seconds", type=int, default=SCHEMA_SECONDS_MAX)
    arguments = parser.parse_args()
    checks = Checks()
    with ApiServer() as server:
        assert accepts(server.http)
        if arguments.part == "schema":
            schema(server, checks, arguments.seconds)
        else:
            ejabberd_client(server, checks)
            as_scripts_do(server, checks)
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
