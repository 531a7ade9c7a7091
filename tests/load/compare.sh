#!/bin/bash
# Runs Coucou, ejabberd and Prosody in turns under the same load and prints a table.
# Debian; installs the peers. Some 12 minutes.
#
# usage: compare.sh [--profile release|bench] [--quick] [--only SERVER …] [--publish NAME]
#        --profile bench   build Coucou without link-time optimisation, with symbols
#        --quick           short runs, to see whether everything works
#        --only SERVER     coucou, ejabberd or prosody; may be repeated
#        --publish NAME    keep the figures in runs/published/NAME.json and .md
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
profile=release
rest=()
only=()

while [ $# -gt 0 ]; do
	case $1 in
		--profile) profile=$2 && shift ;;
		--only) only+=("$2") && rest+=(--only "$2") && shift ;;
		--publish) rest+=(--publish "$2") && shift ;;
		--quick) rest+=(--quick) ;;
		*) sed -n '2,10s/^# \?//p' "$0" >&2 && exit 2 ;;
	esac
	shift
done

if [ "${only[*]:-}" != coucou ]; then "$here/peers/install.sh"; fi
(cd "$here" && cargo build --release --quiet)
if [ ${#only[@]} -eq 0 ] || [[ " ${only[*]} " == *" coucou "* ]]; then
	if [ -z "${COUCOU:-}" ]; then
		(cd "$root" && cargo build --profile "$profile" --quiet --bin coucou)
		export COUCOU=$root/target/$profile/coucou
	fi
fi
exec python3 "$here/compare.py" "${rest[@]}"
