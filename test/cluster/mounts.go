package main

import (
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mountKubeletDir mounts a directory of the cluster where device plugins look for the
// kubelet, so that the machine's own directory is untouched. The mount is shared, since
// pods may request mount propagation.
func mountKubeletDir(l layout) error {
	for _, dir := range []string{kubeletDir, l.path("kubelet")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create %s: %w", dir, err)
		}
	}
	if err := unix.Mount(l.path("kubelet"), kubeletDir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", kubeletDir, err)
	}
	if err := unix.Mount("", kubeletDir, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share the mount %s: %w", kubeletDir, err)
	}
	return nil
}

// kubeletDirIsOurs reports whether the cluster's directory is mounted there.
func kubeletDirIsOurs(l layout) bool {
	mounted, err := os.Stat(kubeletDir)
	if err != nil {
		return false
	}
	ours, err := os.Stat(l.path("kubelet"))
	return err == nil && os.SameFile(mounted, ours)
}

// unmount unmounts everything at dir and below it.
func unmount(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("list mounts below %s: %w", dir, err)
	}
	// The list is in the order of mounting: unmount in reverse.
	for i := len(mounts) - 1; i >= 0; i-- {
		if err := unix.Unmount(mounts[i].Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && err != unix.EINVAL {
			return fmt.Errorf("unmount %s: %w", mounts[i].Mountpoint, err)
		}
	}
	return nil
}
