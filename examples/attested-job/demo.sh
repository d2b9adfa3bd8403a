#!/usr/bin/env bash
# Runs a confidential job on a cluster with confcom and verifies its quote. It prints
# each command before running it: they are what a user would type. Needs kubectl, a
# cluster with confcom, and bin/confcom.
set -euo pipefail
cd "$(dirname "$0")/../.."

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# run prints a command line and runs it.
run() {
	printf '\033[2m$ %s\033[0m\n' "$1"
	eval "$1"
}
[ -t 1 ] || { title() { printf '\n%s\n' "$*"; }; run() { echo "\$ $1"; eval "$1"; }; }

title "The node advertises EPC (enclave memory) in MiB. SIMULATED: this demo uses no SGX hardware."
run "kubectl get nodes -o custom-columns='NODE:.metadata.name,EPC:.status.allocatable.kubernetes\\.azure\\.com/sgx_epc_mem_in_MiB'"

title "A confidential job requests 10 MiB of EPC and opts in to the node's quote helper."
kubectl delete job attested-job --ignore-not-found >/dev/null
run "grep -A1 -e limits: -e SGX_AESM examples/attested-job/job.yaml"
run "kubectl apply -f examples/attested-job/job.yaml"
run "kubectl wait --for=condition=complete --timeout=60s job/attested-job"

title "The job got a quote and verified what it could without collateral."
run "kubectl logs job/attested-job | sed '/-BEGIN/,/-END/ {//! d}'    # omits the 70 lines of the quote"

title "The content of the quote:"
run "kubectl logs job/attested-job | bin/confcom quote inspect -"

title "A relying party needs collateral. Here it gets the collateral of all simulated platforms."
run "bin/confcom simulated collateral --out-dir bin/simulated 2>/dev/null"

title "If it trusts Intel's root, the simulated platform is NOT TRUSTED."
run "kubectl logs job/attested-job | bin/confcom quote verify - --collateral bin/simulated || true"

title "If it chooses to trust the simulated root, the platform is TRUSTED."
run "kubectl logs job/attested-job | bin/confcom quote verify - --collateral bin/simulated --root bin/simulated/root.pem --any-enclave"

title "What to try next:"
cat <<'END'
  eval "$(bin/cluster env)"                                    put kubectl and helm for this cluster on the PATH
  kubectl get pods -A                                          list all pods
  kubectl -n confcom-system logs ds/sgx-quote-helper           read the quote helper's log
  kubectl apply -f examples/attested-job/job-restricted.yaml   run the job without root and without volumes
  make demo-down                                               stop and remove the cluster
END
