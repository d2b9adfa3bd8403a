#!/usr/bin/env bash
# Starts the test cluster and installs confcom on it, with the simulated platform.
# Needs the images of `make images`. Running it again updates the cluster.
set -euo pipefail
cd "$(dirname "$0")/.."

bin/cluster up
bin/cluster image load dist/*.tar
eval "$(bin/cluster env)"

echo "installing the chart"
# Images keep their tag from build to build, so an annotation with their checksum
# makes the cluster replace the pods of changed images.
helm upgrade --install confcom charts/confcom \
	--namespace confcom-system --create-namespace \
	--set platform=simulated \
	--set-string podAnnotations.images="$(cat dist/*.tar | sha256sum | cut -c1-16)" \
	--wait --timeout 3m >/dev/null || {
	kubectl -n confcom-system get pods
	kubectl -n confcom-system get events --field-selector type=Warning
	exit 1
} >&2
