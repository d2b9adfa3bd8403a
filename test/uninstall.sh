#!/usr/bin/env bash
# Uninstalls confcom from the test cluster, stops the cluster, and removes the directories
# of the quote helper's socket and of the device plugin's state. Nothing is left.
set -euo pipefail
cd "$(dirname "$0")/.."

if bin/cluster status >/dev/null 2>&1; then
	eval "$(bin/cluster env)"
	helm uninstall confcom --namespace confcom-system --cascade foreground --wait --timeout 1m >/dev/null || true # the cluster is removed anyway
fi
bin/cluster down
rm -f /var/run/confcom/epc.json /var/run/aesmd/aesm.socket.targets
rmdir /var/run/aesmd /var/run/confcom 2>/dev/null || true
