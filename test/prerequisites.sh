#!/usr/bin/env bash
# Installs the Debian packages that the tests need and the machine lacks. The test
# cluster installs its own.
set -euo pipefail

missing=()
command -v gcc >/dev/null || missing+=(gcc libc6-dev) # for the race detector and the worker
command -v g++ >/dev/null || missing+=(g++)           # for the stand-in for Intel's libraries
[ -e /usr/include/openssl/evp.h ] || missing+=(libssl-dev)
command -v node >/dev/null || missing+=(nodejs)       # for verifiers written in JavaScript
command -v npm >/dev/null || missing+=(npm)
command -v protoc >/dev/null || missing+=(protobuf-compiler)
command -v promtool >/dev/null || missing+=(prometheus) # for tests of the alerts
[ ${#missing[@]} -eq 0 ] && exit

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "missing packages: ${missing[*]}. Install them (Debian: sudo apt-get install ${missing[*]}) and try again." >&2
	exit 1
fi
echo "installing ${missing[*]} (this can take a few minutes)"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
# The tests need promtool only, and not the server that the package starts.
if [[ " ${missing[*]} " == *" prometheus "* ]] && command -v systemctl >/dev/null; then
	systemctl disable --now prometheus >/dev/null 2>&1 || true # without systemd, nothing has started it
fi
