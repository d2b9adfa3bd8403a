#!/usr/bin/env bash
# Brings the test cluster up and installs confcom on it, with the simulated
# platform. Expects what `make images` builds; may be run again.
set -euo pipefail
cd "$(dirname "$0")/.."

bin/cluster up
bin/cluster image load dist/*.tar
eval "$(bin/cluster env)"

echo "installing the chart"
# The images keep their tag from build to build: the annotation makes new pods
# of new images.
helm upgrade --install confcom charts/confcom \
	--namespace confcom-system --create-namespace \
	--set platform=simulated \
	--set-string podAnnotations.images="$(cat dist/*.tar | sha256sum | cut -c1-16)" \
	--wait --timeout 3m >/dev/null || {
	kubectl -n confcom-system get pods
	kubectl -n confcom-system get events --field-selector type=Warning
	exit 1
} >&2
