package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"
)

// component is one server process of the cluster.
type component struct {
	name string
	args []string
	// ready returns nil once the process that was started at the given time provides
	// what the next component needs.
	ready func(ctx context.Context, started time.Time) error
}

// components returns the components in the order in which they start.
func components(l layout) ([]component, error) {
	admin, err := adminClient(l)
	if err != nil {
		return nil, err
	}
	answer := func(client *http.Client, urls ...string) func(context.Context, time.Time) error {
		return func(ctx context.Context, _ time.Time) error {
			for _, url := range urls {
				if err := get(ctx, client, url, nil); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []component{
		{
			name: "etcd",
			args: []string{
				"--name=confcom",
				"--data-dir=" + l.path("etcd"),
				"--listen-client-urls=unix://" + l.etcdSocket(),
				"--advertise-client-urls=unix://" + l.etcdSocket(),
				"--listen-peer-urls=unix://" + l.path("etcd-peer.sock"),
				"--unsafe-no-fsync",
				"--log-level=warn",
			},
			ready: answer(socketClient(l.etcdSocket()), "http://etcd/health"),
		},
		{
			name: "kube-apiserver",
			args: []string{
				"--etcd-servers=unix://" + l.etcdSocket(),
				"--bind-address=" + serviceIP,
				"--advertise-address=" + serviceIP,
				"--secure-port=443",
				"--service-cluster-ip-range=" + serviceRange,
				"--tls-cert-file=" + l.Cert("kube-apiserver"),
				"--tls-private-key-file=" + l.Key("kube-apiserver"),
				"--client-ca-file=" + l.Cert("ca"),
				"--kubelet-client-certificate=" + l.Cert("kube-apiserver"),
				"--kubelet-client-key=" + l.Key("kube-apiserver"),
				"--kubelet-certificate-authority=" + l.Cert("ca"),
				"--kubelet-preferred-address-types=InternalIP",
				"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
				"--service-account-signing-key-file=" + l.Key("service-accounts"),
				"--service-account-key-file=" + l.path("pki", "service-accounts.pub"),
				"--authorization-mode=Node,RBAC",
				"--enable-admission-plugins=NodeRestriction",
				"--allow-privileged",
			},
			ready: answer(admin, apiServer+"/readyz"),
		},
		{
			name: "kube-controller-manager",
			args: append(controlPlaneArgs(l, "kube-controller-manager"),
				"--root-ca-file="+l.Cert("ca"),
				"--cluster-signing-cert-file="+l.Cert("ca"),
				"--cluster-signing-key-file="+l.Key("ca"),
				"--service-account-private-key-file="+l.Key("service-accounts"),
				"--use-service-account-credentials",
				// Each controller creates its service account at the start, which takes
				// five seconds at the default rate.
				"--kube-api-qps=200",
				"--kube-api-burst=400",
			),
			// No pod can be created before its namespace has a service account.
			ready: answer(admin, "https://127.0.0.1:10257/healthz", apiServer+"/api/v1/namespaces/default/serviceaccounts/default"),
		},
		{
			name:  "kube-scheduler",
			args:  controlPlaneArgs(l, "kube-scheduler"),
			ready: answer(admin, "https://127.0.0.1:10259/healthz"),
		},
		{
			name: "containerd",
			args: []string{"--config=" + l.config("containerd.toml")},
			// The kubelet needs the pause image first.
			ready: func(ctx context.Context, _ time.Time) error { return loadImages(ctx, l, l.pauseTar()) },
		},
		{
			name: "kubelet",
			args: []string{
				"--config=" + l.config("kubelet.yaml"),
				"--kubeconfig=" + l.kubeconfig("kubelet"),
				"--root-dir=" + kubeletDir,
				"--hostname-override=" + nodeName,
				"--node-ip=" + nodeIP,
			},
			ready: func(ctx context.Context, started time.Time) error {
				if err := dialDeviceManager(ctx); err != nil {
					return err
				}
				return nodeReady(ctx, admin, started)
			},
		},
	}, nil
}

// controlPlaneArgs returns the arguments that the controller manager and the scheduler
// share.
func controlPlaneArgs(l layout, name string) []string {
	kubeconfig := l.kubeconfig(name)
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--tls-cert-file=" + l.Cert(name),
		"--tls-private-key-file=" + l.Key(name),
		"--leader-elect=false",
	}
}

// loadImages imports image tarballs into containerd, where the kubelet finds them.
func loadImages(ctx context.Context, l layout, tarballs ...string) error {
	for _, path := range tarballs {
		cmd := exec.CommandContext(ctx, l.binary("ctr"), "--address", l.ContainerdSocket(), "--namespace", "k8s.io",
			"images", "import", "--local", path)
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("load the image %s: %w: %s", path, err, lastLines(output, 3))
		}
	}
	return nil
}

// dialDeviceManager returns nil if a kubelet accepts registrations of device plugins.
func dialDeviceManager(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", filepath.Join(kubeletDir, "device-plugins", "kubelet.sock"))
	if err != nil {
		return err // contains the path of the socket
	}
	return conn.Close()
}

// nodeReady returns nil if the node has reported that it is ready since the kubelet was
// started; earlier reports may be out of date. Heartbeats have whole seconds, so one in
// the second of the start does not count.
func nodeReady(ctx context.Context, admin *http.Client, started time.Time) error {
	var node struct {
		Status struct {
			Conditions []struct {
				Type, Status, Message string
				LastHeartbeatTime     time.Time
			}
		}
	}
	if err := get(ctx, admin, apiServer+"/api/v1/nodes/"+nodeName, &node); err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		switch {
		case c.Type != "Ready":
		case !c.LastHeartbeatTime.After(started):
			return errors.New("no heartbeat of the node since the kubelet was started")
		case c.Status != "True":
			return fmt.Errorf("the node is not ready: %s", c.Message)
		default:
			return nil
		}
	}
	return errors.New("the node has no condition Ready")
}
