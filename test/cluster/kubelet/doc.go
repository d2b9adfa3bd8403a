// Package kubelet tests the program sgx-device-plugin against the kubelet's own
// device manager, the part of a kubelet that deals with device plugins. It runs
// in the process of the tests and is met over the sockets in
// /var/lib/kubelet/device-plugins, as on a node; the plugin is a process of its
// own. 'make kubelet' runs the tests, 'make bench-device-plugin' measures.
//
// Root is needed: the tests take place in a mount namespace of their own, where
// /var/lib/kubelet is empty, and so are no trouble to a kubelet of the machine.
//
// The tests have the build tag kubelet, since compiling the device manager
// compiles much of Kubernetes.
package kubelet
