#!/usr/bin/env bash
# Uninstalls confcom from the test cluster, stops the cluster, and removes the directory
# of the quote helper's socket. Nothing is left.
set -euo pipefail
cd "$(dirname "$0")/.."

if bin/cluster status >/dev/null 2>&1; then
	eval "$(bin/cluster env)"
	helm uninstall confcom --namespace confcom-system --cascade foreground --wait --timeout 1m >/dev/null || true # the cluster is removed anyway
fi
bin/cluster down
rmdir /var/run/aesmd 2>/dev/null || true
