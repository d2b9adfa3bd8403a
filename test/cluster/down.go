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

// containerLogs is where the kubelet puts links to the logs of containers,
// whatever directory the logs themselves are in.
const containerLogs = "/var/log/containers"

// cniCache is where the CNI library, as containerd uses it, notes the
// addresses it gave.
const cniCache = "/var/lib/cni"

// down stops the cluster and removes what it put on the machine. It works on
// whatever an interruption left, too.
func down(ctx context.Context, l layout) error {
	if there, err := stateIsOurs(l); err != nil || !there {
		return err
	}
	if err := stopSupervisor(ctx, l); err != nil {
		return err
	}
	// Pods and their shims, and the servers if the supervisor was killed.
	if err := killCgroup(ctx, l); err != nil {
		return err
	}
	// Only a mount of ours hides the machine's own directory.
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

// stopSupervisor asks the supervisor, if one answers, to stop, and waits until
// it has.
func stopSupervisor(ctx context.Context, l layout) error {
	client := socketClient(l.control())
	if err := call(ctx, client, http.MethodPost, "http://supervisor/stop", nil); err != nil {
		return ctx.Err() // none is there
	}
	err := poll(ctx, time.Minute, func(ctx context.Context) error {
		if err := get(ctx, client, "http://supervisor/status", nil); err == nil {
			return errors.New("the supervisor is still stopping components")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("stop the cluster: %w", err)
	}
	return nil
}

// removeTraces removes what kubelet and containerd leave at places that cannot
// be set: links into the state directory, notes of our network, and the
// directories of both if nothing else is in them.
func removeTraces(l layout) error {
	links, err := filepath.Glob(filepath.Join(containerLogs, "*.log"))
	if err != nil {
		return fmt.Errorf("list container logs: %w", err)
	}
	var ours []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, l.State+"/") {
			ours = append(ours, link)
		}
	}
	notes, err := filepath.Glob(filepath.Join(cniCache, "results", "confcom-*"))
	if err != nil {
		return fmt.Errorf("list network results: %w", err)
	}
	for _, path := range append(ours, notes...) {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove a trace of the cluster: %w", err)
		}
	}
	for _, dir := range []string{containerLogs, filepath.Join(cniCache, "results"), cniCache, kubeletDir} {
		_ = os.Remove(dir) // fails when others use it, and shall
	}
	return nil
}
