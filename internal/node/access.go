package node

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Access is who may open a file: its permissions, and the IDs of the user and the group
// that own it. A container gets a device with the access that it has on the host.
type Access struct {
	Mode        fs.FileMode
	User, Group int
}

// AccessOf returns the access of a file. It reports false where files have no owner.
func AccessOf(info fs.FileInfo) (Access, bool) {
	user, group, ok := owner(info)
	return Access{info.Mode().Perm(), user, group}, ok
}

// Access returns the access of a device of the machine. It reports false if that is not
// known.
func (m Machine) Access(d Device) (Access, bool) {
	info, err := os.Stat(filepath.Join(m.Sysroot, d.Path))
	if err != nil {
		return Access{}, false
	}
	return AccessOf(info)
}

func (a Access) String() string {
	return fmt.Sprintf("mode %#o, owner %d, group %d", uint32(a.Mode), a.User, a.Group)
}

// The bits of a mode that let a user open a device, which enclaves need for reading and
// writing.
const (
	byOwner  fs.FileMode = 0o600
	byGroup  fs.FileMode = 0o060
	byOthers fs.FileMode = 0o006
)

// Allows reports whether a process of this user, in these groups and without
// capabilities, may read and write the file.
func (a Access) Allows(user int, groups []int) bool {
	switch {
	case a.User == user:
		return a.Mode&byOwner == byOwner
	case slices.Contains(groups, a.Group):
		return a.Mode&byGroup == byGroup
	}
	return a.Mode&byOthers == byOthers
}

// EveryUser reports whether processes of all users may open the device.
func (a Access) EveryUser() bool { return a.Mode&byOthers == byOthers }

// ByGroup reports whether a process of another user can be let at the device by its
// group. The group of root is none to add a process to.
func (a Access) ByGroup() bool { return a.Group != 0 && a.Mode&byGroup == byGroup }

// ContainerOwnership is the setting of a container runtime that lets every pod open the
// devices that it has been given.
const ContainerOwnership = "device_ownership_from_security_context = true in containerd's configuration (CRI-O has the same setting), which gives a pod's devices to the pod's user"

// ForPods returns what happens to pods that do not run as root and have been given the
// device, and what to do about it. Both are empty if they may open it.
func (a Access) ForPods() (problem, advice string) {
	switch {
	case a.EveryUser():
		return "", ""
	case a.ByGroup():
		return fmt.Sprintf("a pod that is neither root nor in group %d gets EACCES (permission denied)", a.Group),
			fmt.Sprintf("add %d to supplementalGroups of such pods, or set %s", a.Group, ContainerOwnership)
	}
	return "a pod that is not root gets EACCES (permission denied), whatever its groups",
		"set " + ContainerOwnership + ", or let a udev rule give the device a group and mode 0660"
}
