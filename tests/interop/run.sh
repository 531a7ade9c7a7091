#!/bin/bash
# Tries the server with other people's clients: slixmpp (our scripts and its own integration tests),
# xmpp.js and profanity, kills it under load, compares its verdicts on access with ejabberd's, and calls
# its HTTP API with a client written for ejabberd and with schemathesis. Debian; installs what is missing.
#
# usage: run.sh [--server coucou|prosody|ejabberd] [--cycles N] [--binary PATH] [PART …]
#        PARTs: slix itests xmppjs terminal portable kill oracle ejabberdapi schema; all without any
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/interop
slixmpp=1.17.0
schemathesis=4.32.5
ejabberdapi=0.1.7.1
server=coucou
cycles=15
parts=()

while [ $# -gt 0 ]; do
	case $1 in
		--server) server=$2 && shift ;;
		--cycles) cycles=$2 && shift ;;
		--binary) export COUCOU=$2 && shift ;;
		slix | itests | xmppjs | terminal | portable | kill | oracle | ejabberdapi | schema) parts+=("$1") ;;
		*) sed -n '2,7s/^# \?//p' "$0" >&2 && exit 2 ;;
	esac
	shift
done
if [ ${#parts[@]} -eq 0 ]; then
	parts=(slix itests xmppjs terminal kill oracle)
	# The API is ours; ejabberd's is what its client was written for.
	if [ "$server" = coucou ]; then parts+=(ejabberdapi schema); fi
fi

wants() {
	[[ " ${parts[*]} " == *" $1 "* ]]
}

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
	local package missing=()
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} -eq 0 ] && return
	as_root apt-get update -q
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# slixmpp in an environment of its own, and its source package for the tests in it.
install_slixmpp() {
	local python=$work/venv/bin/python
	if ! "$python" -c "import slixmpp, sys; sys.exit(slixmpp.__version__ != '$slixmpp')" 2>/dev/null; then
		python3 -m venv "$work/venv"
		"$python" -m pip install -q --disable-pip-version-check "slixmpp==$slixmpp"
	fi
	if wants itests && [ ! -d "$work/slixmpp/itests" ]; then
		mkdir -p "$work/slixmpp"
		"$python" -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$work" "slixmpp==$slixmpp"
		# Only the tests: what they import is the installed package.
		tar -xf "$work/slixmpp-$slixmpp.tar.gz" -C "$work/slixmpp" --strip-components 1 "slixmpp-$slixmpp/itests"
	fi
}

# What calls the HTTP API, in an environment of its own: its libraries are many.
install_api_clients() {
	local python=$work/api-venv/bin/python
	if "$python" -c "import sys; from importlib.metadata import version as v
sys.exit((v('schemathesis'), v('EjabberdAPI')) != ('$schemathesis', '$ejabberdapi'))" 2>/dev/null; then return; fi
	python3 -m venv "$work/api-venv"
	"$python" -m pip install -q --disable-pip-version-check "schemathesis==$schemathesis" "EjabberdAPI==$ejabberdapi"
}

prepare() {
	mkdir -p "$work"
	if wants terminal; then install_packages tmux profanity; fi
	if [ "$server" != coucou ] || wants oracle; then "$root/tests/load/peers/install.sh"; fi
	if wants slix || wants itests || wants xmppjs || wants terminal || wants kill || wants oracle; then
		install_slixmpp
	fi
	if wants ejabberdapi || wants schema; then install_api_clients; fi
	if wants xmppjs && command -v npm >/dev/null; then (cd "$here/xmppjs" && npm ci --silent --no-audit --no-fund); fi
	if [ "$server" = coucou ] && [ -z "${COUCOU:-}" ]; then
		(cd "$root" && cargo build --quiet --bin coucou)
	fi
}

run_part() {
	local python=$work/venv/bin/python
	case $1 in
		slix) "$python" "$here/slix.py" --server "$server" ;;
		itests) "$python" "$here/itests.py" --server "$server" --source "$work/slixmpp" ;;
		xmppjs)
			if ! command -v npm >/dev/null; then
				echo "SKIP xmpp.js: there is no npm"
				echo "0 passed, 0 failed, 1 skipped"
				return
			fi
			"$python" "$here/xmppjs.py" --server "$server"
			;;
		portable) "$python" "$here/portable.py" --server "$server" ;;
		terminal) "$python" "$here/terminal.py" --server "$server" ;;
		ejabberdapi | schema) "$work/api-venv/bin/python" "$here/api.py" --part "$1" ;;
		kill) "$python" "$here/kill.py" --server "$server" --cycles "$cycles" ;;
		# What is compared are two servers; there is nothing to choose.
		oracle) "$python" "$here/oracle.py" ;;
	esac
}

prepare
passed=0 failed=0 skipped=0
for part in "${parts[@]}"; do
	echo "== $part"
	log=$work/$part.log
	# A part that ends without its sum has failed as a whole.
	run_part "$part" 2>&1 | tee "$log" || true
	if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
	else
		echo "FAIL $part ended early"
		failed=$((failed + 1))
	fi
done
echo "== all"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
