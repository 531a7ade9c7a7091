#!/bin/bash
# Debian's ejabberd on loopback, for comparison: SQLite storage, no shapers, archive on or off.
DEFAULT_PORT=16222
DEFAULT_TLS_PORT=16223
. "$(dirname "$0")/lib.sh"

prepare() {
	local mam=''
	if [ "$archive" = on ]; then
		mam='
  mod_mam:
    default: always
    assume_mam_usage: true'
	fi
	sqlite3 "$dir/ejabberd.sqlite" </usr/share/ejabberd/sql/lite.sql >/dev/null
	python3 "$here/accounts.py" ejabberd "$dir/ejabberd.sqlite" "$domain" "$users" "$password" "$iterations"
	cat >"$dir/ejabberd.yml" <<YAML
hosts: ["$domain"]
loglevel: warning
certfiles: ["$dir/both.pem"]
listen:
  - port: $port
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls_required: true
    max_stanza_size: 262144
    backlog: 1000
  - port: $tls_port
    ip: "127.0.0.1"
    module: ejabberd_c2s
    tls: true
    max_stanza_size: 262144
    backlog: 1000
default_db: sql
sql_type: sqlite
sql_database: "$dir/ejabberd.sqlite"
auth_method: sql
auth_password_format: scram
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
# No shaper rule applies to anyone.
shaper_rules: {}
acl: {}
modules:
  mod_adhoc: {}
  mod_admin_extra: {}
  mod_blocking: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_client_state: {}
  mod_disco: {}
  mod_last: {}
  mod_offline: {}
  mod_ping: {}
  mod_private: {}
  mod_privacy: {}
  mod_pubsub:
    plugins: [flat, pep]
  mod_roster:
    versioning: true
  mod_stream_mgmt: {}
  mod_time: {}
  mod_vcard: {}
  mod_version: {}$mam
YAML
}

launch() {
	# `ejabberdctl` would join a distributed node with its own daemon on all interfaces; ejabberd
	# runs as well in a nameless one. The flags are those of Debian's /usr/sbin/ejabberdctl.
	# No `exec`: the pid that counts is the machine's own, the shell below is replaced by it.
	(
		export EJABBERD_CONFIG_PATH="$dir/ejabberd.yml" EJABBERD_LOG_PATH="$dir/ejabberd.log"
		export ERL_CRASH_DUMP="$dir/erl_crash.dump" ERL_MAX_PORTS=32000 ERL_MAX_ETS_TABLES=1400
		export ERL_LIBS=/usr/lib/x86_64-linux-gnu HOME="$dir"
		exec erl +K true +P 250000 -noinput -mnesia dir "\"$dir/mnesia\"" -s ejabberd
	) >"$dir/stdout.log" 2>&1 </dev/null &
	local pid=$!
	echo $pid >"$dir/server.pid"
	wait_for_port "$port" $pid
	wait_for_port "$tls_port" $pid
	write_description $pid "ejabberd $(dpkg-query -W -f '${Version}' ejabberd)"
}

main "$@"
