#!/usr/bin/env bash
# Installs the third-party verifiers outside the checkout and prints their directory.
set -euo pipefail
cd "$(dirname "$0")"

dir="${XDG_CACHE_HOME:-$HOME/.cache}/confcom/oracles/$(cat package.json package-lock.json | sha256sum | cut -c1-16)"
if [ ! -d "$dir" ]; then
	mkdir -p "$(dirname "$dir")"
	new=$(mktemp -d "$dir.XXXX")
	trap 'rm -rf "$new"' EXIT
	cp package.json package-lock.json "$new"
	(cd "$new" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error) >&2
	mv -T "$new" "$dir"
fi
echo "$dir"
