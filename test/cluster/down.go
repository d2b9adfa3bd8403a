package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// containerLogs is where the kubelet creates links to the logs of containers,
// wherever the logs are.
const containerLogs = "/var/log/containers"

// cniCache is where the CNI library, as containerd uses it, records the addresses
// that it has assigned.
const cniCache = "/var/lib/cni"

// down stops the cluster and removes it from the machine, including what an
// interrupted up or down has left.
func down(ctx context.Context, l layout) error {
	if there, err := stateIsOurs(l); err != nil || !there {
		return err
	}
	if err := stopSupervisor(ctx, l); err != nil {
		return err
	}
	// Kill pods and their shims, and the components if the supervisor was killed.
	if err := killCgroup(ctx, l); err != nil {
		return err
	}
	// Any other mount is not the cluster's.
	if kubeletDirIsOurs(l) {
		if err := unmount(kubeletDir); err != nil {
			return err
		}
	}
	if err := unmount(l.State); err != nil {
		return err
	}
	if err := removeNetwork(); err != nil {
		return err
	}
	if err := restoreSysctls(l); err != nil {
		return err
	}
	if err := removeTraces(l); err != nil {
		return err
	}
	return removeState(l)
}

// stopSupervisor stops the supervisor, if one responds, and waits until it has
// stopped.
func stopSupervisor(ctx context.Context, l layout) error {
	client := socketClient(l.control())
	if err := call(ctx, client, http.MethodPost, "http://supervisor/stop", nil); err != nil {
		return ctx.Err() // no supervisor runs
	}
	err := poll(ctx, time.Minute, func(ctx context.Context) error {
		if err := get(ctx, client, "http://supervisor/status", nil); err == nil {
			return errors.New("the supervisor is still stopping the components")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("stop the supervisor: %w", err)
	}
	return nil
}

// removeTraces removes what kubelet and containerd leave at paths that cannot be
// configured: links into the state directory, records of our network, and the
// directories of both if they are empty.
func removeTraces(l layout) error {
	links, err := filepath.Glob(filepath.Join(containerLogs, "*.log"))
	if err != nil {
		return fmt.Errorf("list container logs: %w", err)
	}
	var traces []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, l.State+"/") {
			traces = append(traces, link)
		}
	}
	records, err := filepath.Glob(filepath.Join(cniCache, "results", "confcom-*"))
	if err != nil {
		return fmt.Errorf("list CNI results: %w", err)
	}
	for _, path := range append(traces, records...) {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove what the cluster left: %w", err)
		}
	}
	for _, dir := range []string{containerLogs, filepath.Join(cniCache, "results"), cniCache, kubeletDir} {
		_ = os.Remove(dir) // fails, as it should, if others use it
	}
	return nil
}
