# Sourced by the peers' scripts: what starting Prosody and ejabberd for a comparison has in common.
# Everything they write is under one directory the caller names; they listen on 127.0.0.1 only.

set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
	echo "$(basename "$0"): $*" >&2
	exit 1
}

usage() {
	cat >&2 <<USAGE
usage: $(basename "$0") start --dir DIR [--archive on|off] [--users N] [--password P]
                   [--domain D] [--port N] [--tls-port N] [--iterations N]
       $(basename "$0") stop --dir DIR        stop the server and remove DIR
       $(basename "$0") halt --dir DIR        stop the server, keep DIR
       $(basename "$0") resume --dir DIR      start it again on what halt kept
USAGE
	exit 2
}

# Sets: action dir archive users password domain port tls_port iterations.
parse_arguments() {
	[ $# -ge 1 ] || usage
	action=$1
	shift
	dir='' archive=on users=0 password=secret domain=localhost iterations=4096
	port=$DEFAULT_PORT tls_port=$DEFAULT_TLS_PORT
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || usage
		case $1 in
			--dir) dir=$2 ;;
			--archive) archive=$2 ;;
			--users) users=$2 ;;
			--password) password=$2 ;;
			--domain) domain=$2 ;;
			--port) port=$2 ;;
			--tls-port) tls_port=$2 ;;
			--iterations) iterations=$2 ;;
			*) usage ;;
		esac
		shift 2
	done
	[ -n "$dir" ] || usage
	case $archive in on | off) ;; *) usage ;; esac
}

make_directory() {
	[ ! -e "$dir" ] || die "$dir exists already"
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	# `stop` removes only directories that carry this mark.
	: >"$dir/.coucou-load-peer"
}

make_certificate() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
		-subj "/CN=$domain" -addext "subjectAltName=DNS:$domain" \
		-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
	cat "$dir/key.pem" "$dir/cert.pem" >"$dir/both.pem"
	chmod 600 "$dir/key.pem" "$dir/both.pem"
}

# Waits until the server accepts connections on $1, as long as process $2 lives.
wait_for_port() {
	local deadline=$((SECONDS + 60))
	until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
		kill -0 "$2" 2>/dev/null || { tail -n 20 "$dir"/*.log >&2 || true; die "the server ended; see above"; }
		[ $SECONDS -lt $deadline ] || die "port $1 did not open within 60 s; see $dir"
		sleep 0.005
	done
}

# What compare.sh and the interop tests read.
write_description() {
	cat >"$dir/peer.env" <<ENV
PEER_PID=$1
PEER_PORT=$port
PEER_TLS_PORT=$tls_port
PEER_DOMAIN=$domain
PEER_USERS=$users
PEER_PASSWORD=$password
PEER_VERSION='$2'
PEER_SETTINGS='--archive $archive --users $users --password $password --domain $domain --port $port --tls-port $tls_port'
ENV
	cat "$dir/peer.env"
}

halt_server() {
	local pid
	[ -e "$dir/.coucou-load-peer" ] || die "$dir was not made by this script"
	[ -s "$dir/server.pid" ] || return 0
	pid=$(cat "$dir/server.pid")
	kill -TERM "$pid" 2>/dev/null || true
	local deadline=$((SECONDS + 20))
	while kill -0 "$pid" 2>/dev/null; do
		if [ $SECONDS -ge $deadline ]; then
			kill -KILL "$pid" 2>/dev/null || true
			break
		fi
		sleep 0.05
	done
	rm -f "$dir/server.pid"
}

main() {
	parse_arguments "$@"
	case $action in
		start)
			make_directory
			# A start that fails leaves nothing behind but its logs.
			trap 'halt_server' ERR
			make_certificate
			prepare
			launch
			;;
		stop)
			halt_server
			rm -rf "$dir"
			;;
		halt) halt_server ;;
		resume)
			[ -e "$dir/.coucou-load-peer" ] || die "$dir was not made by this script"
			dir=$(cd "$dir" && pwd)
			# shellcheck disable=SC1091
			. "$dir/peer.env"
			port=$PEER_PORT tls_port=$PEER_TLS_PORT domain=$PEER_DOMAIN
			users=$PEER_USERS password=$PEER_PASSWORD
			launch
			;;
		*) usage ;;
	esac
}
