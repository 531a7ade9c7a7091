#!/bin/bash
# Coucou on loopback, for comparison: with the settings it comes with, archive on or off.
# The binary is $COUCOU, or the release build of this repository.
DEFAULT_PORT=17222
DEFAULT_TLS_PORT=17223
. "$(dirname "$0")/lib.sh"

coucou=${COUCOU:-$here/../../../target/release/coucou}

prepare() {
	local default=always
	[ "$archive" = on ] || default=never
	[ -x "$coucou" ] || die "$coucou is not there: build it, or name it by COUCOU"
	cat >"$dir/coucou.toml" <<TOML
data_dir = "$dir/data"
[listen]
c2s = ["127.0.0.1:$port"]
c2s_tls = ["127.0.0.1:$tls_port"]
[hosts."$domain"]
scram_iterations = $iterations
[hosts."$domain".tls]
certificate = "$dir/both.pem"
key = "$dir/both.pem"
[hosts."$domain".archive]
default = "$default"
TOML
}

launch() {
	local started
	started=$(date +%s%N)
	"$coucou" serve --config "$dir/coucou.toml" >"$dir/serve.log" 2>&1 </dev/null &
	local pid=$!
	echo $pid >"$dir/server.pid"
	wait_for_port "$tls_port" $pid
	echo "START_MS=$((($(date +%s%N) - started) / 1000000))" >"$dir/start.env"
	wait_for_operators
	add_accounts
	write_description $pid "$("$coucou" --version)"
}

# Clients are let in a moment before operators are.
wait_for_operators() {
	local deadline=$((SECONDS + 10))
	until "$coucou" --config "$dir/coucou.toml" status >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || die "the admin socket does not answer within 10 s; see $dir"
		sleep 0.05
	done
}

add_accounts() {
	[ ! -e "$dir/accounts" ] || return 0
	export coucou config="$dir/coucou.toml" domain password
	# shellcheck disable=SC2016
	seq 0 $((users - 1)) | xargs -r -P "$(nproc)" -n 50 sh -c '
		for number; do
			echo "$password" | "$coucou" --config "$config" account add "u$number@$domain" --password-stdin || exit 255
		done' sh >"$dir/accounts.log" 2>&1
	: >"$dir/accounts"
}

main "$@"
