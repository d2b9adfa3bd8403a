// Package kubelet tests the program sgx-device-plugin against the kubelet's own device
// manager, the part of a kubelet that talks to device plugins. The device manager runs
// in the test process and listens on the sockets in /var/lib/kubelet/device-plugins, as
// on a node; the plugin runs in its own process. 'make kubelet' runs the tests, 'make
// bench-device-plugin' the benchmarks.
//
// The tests need root: they run in their own mount namespace, in which /var/lib/kubelet
// is empty, so they do not interfere with a kubelet of the machine.
//
// The tests have the build tag kubelet, since the device manager pulls in much of
// Kubernetes, which takes long to compile.
package kubelet
