#!/usr/bin/env bash
# Runs an aarch64 binary under qemu-user on an amd64 machine: prepares a server, makes an account,
# and lets a real client (slixmpp) log in over STARTTLS and over direct TLS.
#
#   cross/smoke.sh [BINARY]        default: the newest aarch64 binary in target/dist/
#
# It shows that the binary works, not how fast: qemu-user is an order of magnitude slower.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${1:-$(ls -t target/dist/coucou-*-aarch64-unknown-linux-gnu 2>/dev/null | head -n 1)}
[ -n "$binary" ] || { echo "there is no binary; run cross/build.sh aarch64 first" >&2; exit 2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
# libc6:arm64 and libgcc-s1:arm64 are what the binary links to. QEMU_LD_PREFIX must not be set: it
# would pair another loader with them, and threads would spin for ever.
for package in qemu-user-static libc6:arm64 libgcc-s1:arm64 python3-venv; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    dpkg --print-foreign-architectures | grep -qx arm64 || as_root dpkg --add-architecture arm64
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
unset QEMU_LD_PREFIX

# Debian 12's own slixmpp (1.8.3) cannot do SCRAM over TLS 1.3 with a server that offers channel
# binding. The environment is shared with tests/interop/run.sh.
slixmpp=1.17.0
python=target/interop/venv/bin/python
if ! "$python" -c "import slixmpp, sys; sys.exit(slixmpp.__version__ != '$slixmpp')" 2>/dev/null; then
    python3 -m venv target/interop/venv
    "$python" -m pip install -q --disable-pip-version-check "slixmpp==$slixmpp"
fi

folder=$(mktemp -d)
server=
clean_up() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    wait || true
    rm -rf "$folder"
}
trap clean_up EXIT

read -r starttls tls < <(python3 - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PYTHON
)

coucou() {
    qemu-aarch64-static "$binary" --dir "$folder/server" "$@"
}

coucou up --c2s "127.0.0.1:$starttls" --c2s-tls "127.0.0.1:$tls" >"$folder/log" 2>&1 &
server=$!
for _ in $(seq 120); do
    coucou status >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || { cat "$folder/log"; exit 1; }
    sleep 0.5
done
coucou account add smoke@localhost --password-stdin <<<'not a secret' >/dev/null
"$python" cross/smoke.py smoke@localhost 'not a secret' "$starttls" "$tls"
coucou stop >/dev/null
wait "$server"
server=
file -b "$binary" | cut -d , -f 1,2
echo "logged in, pinged and stopped under $(qemu-aarch64-static --version | head -n 1)"
