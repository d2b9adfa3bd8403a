#!/usr/bin/env bash
# Shows a confidential job on a node with confcom: the commands are those that a
# user would type, each printed before it runs. Needs kubectl, a cluster with
# confcom, and bin/confcom.
set -euo pipefail
cd "$(dirname "$0")/../.."

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# shows its argument as a command line and runs it.
run() {
	printf '\033[2m$ %s\033[0m\n' "$1"
	eval "$1"
}
[ -t 1 ] || { title() { printf '\n%s\n' "$*"; }; run() { echo "\$ $1"; eval "$1"; }; }

title "The node advertises EPC memory, in MiB (SIMULATED: there is no SGX here)"
run "kubectl get nodes -o custom-columns='NODE:.metadata.name,EPC:.status.allocatable.kubernetes\\.azure\\.com/sgx_epc_mem_in_MiB'"

title "A confidential job asks for 10 MiB of it and opts in to the node's quote helper"
kubectl delete job attested-job --ignore-not-found >/dev/null
run "grep -A1 -e limits: -e SGX_AESM examples/attested-job/job.yaml"
run "kubectl apply -f examples/attested-job/job.yaml"
run "kubectl wait --for=condition=complete --timeout=60s job/attested-job"

title "It got a quote, and says what it makes of it"
run "kubectl logs job/attested-job | sed '/-BEGIN/,/-END/ {//! d}'    # without the quote's 70 lines"

title "What is in the quote"
run "kubectl logs job/attested-job | bin/confcom quote inspect -"

title "A verifier elsewhere has collateral: here, that of all simulated platforms"
run "bin/confcom simulated collateral --out-dir bin/simulated 2>/dev/null"

title "If it trusts Intel's root, it must refuse a simulated platform"
run "kubectl logs job/attested-job | bin/confcom quote verify - --collateral bin/simulated || true"

title "If it is given the simulated root on purpose, it accepts it"
run "kubectl logs job/attested-job | bin/confcom quote verify - --collateral bin/simulated --root bin/simulated/root.pem"

title "Look around, and take it down"
cat <<'END'
  eval "$(bin/cluster env)"              kubectl and helm for this cluster
  kubectl get pods -A                    what runs
  kubectl -n confcom-system logs ds/sgx-quote-helper
  kubectl apply -f examples/attested-job/job-restricted.yaml
  make demo-down                         stop and remove the cluster
END
