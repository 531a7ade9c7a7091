#!/bin/bash
# Installs Debian's Prosody and ejabberd for the comparison, without starting their system services.
set -euo pipefail

packages=(prosody lua-dbi-sqlite3 lua-event ejabberd erlang-p1-sqlite3 sqlite3 openssl python3)
missing=()
for package in "${packages[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

# Debian starts a service as it is installed; policy-rc.d is its documented way to say no.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${missing[@]}"
