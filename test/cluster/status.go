package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// errDown is returned where a running cluster is needed.
var errDown = errors.New("the cluster is not running: start it with `cluster up`")

// unreachable returns why no supervisor responds.
func unreachable(l layout) error {
	exists, err := stateIsOurs(l)
	if err != nil {
		return err
	}
	if exists {
		return errors.New("the cluster's supervisor does not respond: start a new cluster with `cluster up`, or remove what is left with `cluster down`")
	}
	return errDown
}

// ask requests the "status" or the "health" of the components from the supervisor.
func ask(ctx context.Context, l layout, what string) ([]componentStatus, error) {
	var list []componentStatus
	if err := get(ctx, socketClient(l.control()), "http://supervisor/"+what, &list); err != nil {
		return nil, err
	}
	return list, nil
}

// restart restarts one component and returns when it is ready again.
func restart(ctx context.Context, l layout, name string) error {
	list, err := ask(ctx, l, "status")
	if err != nil {
		return unreachable(l)
	}
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	if !slices.Contains(names, name) {
		return fmt.Errorf("unknown component %s: want one of %s", name, strings.Join(names, ", "))
	}
	return call(ctx, socketClient(l.control()), http.MethodPost, "http://supervisor/restart/"+name, nil)
}

func healthy(list []componentStatus) bool {
	for _, c := range list {
		if c.Problem != "" {
			return false
		}
	}
	return len(list) > 0
}

// printStatus writes a table of the components. It returns an error unless all of them
// are healthy.
func printStatus(ctx context.Context, l layout, w io.Writer) error {
	list, err := ask(ctx, l, "health")
	if err != nil {
		return unreachable(l)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "COMPONENT\tPID\tUPTIME\tHEALTH")
	for _, c := range list {
		health := c.Problem
		if health == "" {
			health = "ok"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", c.Name, c.PID, age(c.Since), health)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nLogs: %s\n", l.Logs())
	if !healthy(list) {
		return errors.New("the cluster is not healthy: start a new one with `cluster up`, or restart a component with `cluster restart COMPONENT`")
	}
	return nil
}

func age(since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return time.Since(since).Round(time.Second)
}
