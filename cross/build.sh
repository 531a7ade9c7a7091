#!/usr/bin/env bash
# Builds release binaries of coucou for x86_64 and aarch64 on an amd64 Debian 12 machine.
#
#   cross/build.sh [x86_64] [aarch64]        default: both
#   COUCOU_CARGO="check" cross/build.sh      another cargo command than build, e.g. check
#
# It installs the Debian packages it lacks (as root or by sudo) and leaves the binaries in
# target/dist/. Each compiler has its own target directory, since their artefacts do not mix.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
dist=target/dist
command=${COUCOU_CARGO:-build}

say() { printf '\n== %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install PACKAGE...: those that are missing.
install() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# has_std RUSTC TRIPLE: whether this compiler can build for that target.
has_std() {
    local libdir
    libdir=$("$1" --print target-libdir --target "$2" 2>/dev/null) && compgen -G "$libdir/libstd-*.rlib" >/dev/null
}

# The newest glibc symbol a binary asks for is the oldest glibc it runs on.
glibc_floor() {
    readelf --version-info --wide "$1" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1
}

build() {
    local arch=$1 triple=$1-unknown-linux-gnu
    local rustc=${RUSTC:-rustc}
    install gcc libc6-dev binutils
    if [ "$arch" = aarch64 ]; then
        dpkg --print-foreign-architectures | grep -qx arm64 || as_root dpkg --add-architecture arm64
        install gcc-aarch64-linux-gnu libc6-dev-arm64-cross
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
        if ! has_std "$rustc" "$triple"; then
            # rustup offers this target where its server is in reach; Debian's compiler always does.
            install rustc-web libstd-rust-web-dev:arm64
            rustc=/usr/bin/rustc
        fi
    fi
    has_std "$rustc" "$triple" || { echo "$rustc has no standard library for $triple" >&2; exit 1; }

    say "$command for $arch with $("$rustc" --version)"
    RUSTC=$rustc CARGO_TARGET_DIR=target/cross/$arch CARGO_INCREMENTAL=0 \
        cargo "$command" --locked --release --bin coucou --target "$triple"
    [ "$command" = build ] || return 0

    mkdir -p "$dist"
    local binary=$dist/coucou-$version-$triple
    cp "target/cross/$arch/$triple/release/coucou" "$binary"
    printf '%s\n  size   %s bytes\n  needs  %s, %s\n' "$binary" "$(stat -c %s "$binary")" \
        "$(glibc_floor "$binary")" \
        "$(readelf --dynamic "$binary" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | paste -sd ' ')"
}

[ $# -gt 0 ] || set -- x86_64 aarch64
for arch in "$@"; do
    case $arch in
        x86_64 | aarch64) build "$arch" ;;
        *) echo "unknown architecture $arch; x86_64 and aarch64 are known" >&2; exit 2 ;;
    esac
done
