package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// up starts the cluster and returns when pods can run. If it fails or is interrupted,
// it removes everything; its error then contains the end of the relevant log.
func up(ctx context.Context, l layout, p *progress) (err error) {
	if list, err := ask(ctx, l, "health"); err == nil && healthy(list) {
		p.print("The cluster is already running, for %s.", age(list[0].Since))
		return nil
	}
	began := time.Now()
	if l.Runc, err = findRunc(ctx, p); err != nil {
		return err
	}
	if l.Bin, err = build(ctx, p); err != nil {
		return err
	}

	if err := checkAlone(ctx, l); err != nil {
		return err
	}
	// A cluster that exists is not healthy.
	if err := down(ctx, l); err != nil {
		return fmt.Errorf("remove the previous cluster: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, down(context.WithoutCancel(ctx), l))
		}
	}()
	if err := prepare(l); err != nil {
		return err
	}
	if err := launch(ctx, l, p); err != nil {
		return err
	}
	p.print("The cluster is running after %s: node %s, API server %s.", time.Since(began).Round(100*time.Millisecond), nodeName, apiServer)
	p.print("To use it: eval \"$(%s env)\" && kubectl get nodes", os.Args[0])
	return nil
}

// checkAlone returns an error if another kubelet runs on this machine: both would use
// the same socket for device plugins.
func checkAlone(ctx context.Context, l layout) error {
	if kubeletDirIsOurs(l) {
		return nil
	}
	if dialDeviceManager(ctx) != nil {
		return nil
	}
	return fmt.Errorf("another kubelet runs on this machine, with its socket in %s: stop it first", kubeletDir)
}

// prepare writes the cluster's files and adds its interface and mount.
func prepare(l layout) error {
	if err := claimState(l); err != nil {
		return err
	}
	if err := saveSysctls(l); err != nil {
		return err
	}
	if err := writePKI(l); err != nil {
		return err
	}
	for _, who := range []string{"admin", "kube-controller-manager", "kube-scheduler", "kubelet"} {
		if err := writeKubeconfig(l, who); err != nil {
			return err
		}
	}
	if err := writeConfig(l); err != nil {
		return err
	}
	if err := writeImage(pauseImage, defaultUser, l.binary("pause"), l.pauseTar()); err != nil {
		return err
	}
	if err := addNetwork(); err != nil {
		return err
	}
	return mountKubeletDir(l)
}

// launch starts the supervisor in its own session and waits until every component is
// ready.
func launch(ctx context.Context, l layout, p *progress) error {
	log, err := os.OpenFile(l.log("supervisor"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log of the supervisor: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", "supervise", "--state-dir", l.State, "--bin-dir", l.Bin)
	cmd.Dir = l.State
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_ = cmd.Wait() // the log explains more than the exit status
		output, _ := os.ReadFile(l.log("supervisor"))
		cancel(fmt.Errorf("the cluster did not start: %s", lastLines(output, 8)))
	}()

	list, err := components(l)
	if err != nil {
		return err
	}
	for i, c := range list {
		done := p.start("Starting " + c.name)
		err := poll(ctx, 2*readyLimit, func(ctx context.Context) error {
			list, err := ask(ctx, l, "status")
			if err != nil {
				return err
			}
			if list[i].Problem != "" {
				return errors.New(list[i].Problem)
			}
			return nil
		})
		done(err)
		if err != nil {
			return err
		}
	}
	return nil
}
