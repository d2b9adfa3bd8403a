package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// kubeletSysctls are the kernel settings that a kubelet changes when it starts. They
// apply to the whole machine, so down restores them.
var kubeletSysctls = []string{
	"vm/overcommit_memory",
	"vm/panic_on_oom",
	"kernel/panic",
	"kernel/panic_on_oops",
	"kernel/keys/root_maxkeys",
	"kernel/keys/root_maxbytes",
}

func saveSysctls(l layout) error {
	saved := map[string]string{}
	for _, name := range kubeletSysctls {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil {
			return fmt.Errorf("read kernel setting: %w", err)
		}
		saved[name] = string(value)
	}
	content, err := json.Marshal(saved)
	if err != nil {
		return fmt.Errorf("save kernel settings: %w", err)
	}
	return writePrivate(l.path("sysctls.json"), content)
}

func restoreSysctls(l layout) error {
	content, err := os.ReadFile(l.path("sysctls.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the saved kernel settings: %w", err)
	}
	var saved map[string]string
	if err := json.Unmarshal(content, &saved); err != nil {
		return fmt.Errorf("read the saved kernel settings: %w", err)
	}
	for name, value := range saved {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil {
			return fmt.Errorf("restore kernel setting: %w", err)
		}
	}
	return nil
}
