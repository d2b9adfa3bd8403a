#!/usr/bin/env bash
# Takes confcom off the test cluster and stops the cluster. Nothing is left: not
# the directory either that the quote helper's socket was in.
set -euo pipefail
cd "$(dirname "$0")/.."

if bin/cluster status >/dev/null 2>&1; then
	eval "$(bin/cluster env)"
	helm uninstall confcom --namespace confcom-system --cascade foreground --wait --timeout 1m >/dev/null || true # the cluster goes anyway
fi
bin/cluster down
rmdir /var/run/aesmd 2>/dev/null || true
