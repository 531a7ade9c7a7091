#!/bin/bash
# Debian's Prosody on loopback, for comparison: SQLite storage, no rate limits, archive on or off.
DEFAULT_PORT=15222
DEFAULT_TLS_PORT=15223
. "$(dirname "$0")/lib.sh"

prepare() {
	local mam='' policy='false'
	if [ "$archive" = on ]; then
		mam='"mam";' policy='true'
	fi
	cat >"$dir/prosody.cfg.lua" <<LUA
run_as_root = true
pidfile = "$dir/prosody.pid"
data_path = "$dir"
certificates = "$dir"
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { $port }
c2s_direct_tls_ports = { $tls_port }
ssl = { key = "$dir/key.pem"; certificate = "$dir/cert.pem" }
c2s_direct_tls_ssl = { key = "$dir/key.pem"; certificate = "$dir/cert.pem" }
c2s_require_encryption = true
-- mod_limits is left out: nothing throttles a stream.
modules_enabled = {
	"roster"; "saslauth"; "tls"; "disco"; "carbons"; "csi_simple"; "smacks"; "blocklist"; "private";
	"vcard4"; "vcard_legacy"; "pep"; "version"; "time"; "ping"; "uptime"; "lastactivity"; "register"; $mam
}
modules_disabled = { "s2s"; "s2s_auth_certs" }
default_archive_policy = $policy
max_archive_query_results = 250
smacks_hibernation_time = 300
authentication = "internal_hashed"
default_iteration_count = $iterations
storage = "sql"
sql = { driver = "SQLite3"; database = "$dir/prosody.sqlite" }
log = { warn = "$dir/prosody.log" }
VirtualHost "$domain"
LUA
	# The tables are made with the first account, which nobody uses.
	prosodyctl --config "$dir/prosody.cfg.lua" register tables "$domain" "$password" >"$dir/register.log" 2>&1
	python3 "$here/accounts.py" prosody "$dir/prosody.sqlite" "$domain" "$users" "$password" "$iterations"
}

launch() {
	prosody -F --config "$dir/prosody.cfg.lua" >"$dir/stdout.log" 2>&1 </dev/null &
	local pid=$!
	echo $pid >"$dir/server.pid"
	wait_for_port "$port" $pid
	wait_for_port "$tls_port" $pid
	write_description $pid "Prosody $(dpkg-query -W -f '${Version}' prosody)"
}

main "$@"
