package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// forbidden are the system calls that no process in a container may make, root's
// neither, by what they would let it do. Those that a kernel or a machine lacks count
// for nothing. Everything else is left to the rights of its user.
var forbidden = []struct {
	why   string
	calls []string
}{
	{"change what it sees of the machine", []string{
		"mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick",
		"mount_setattr", "unshare", "setns"}},
	{"reach into other processes", []string{"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp", "perf_event_open"}},
	{"reach files past their folders", []string{"open_by_handle_at", "name_to_handle_at"}},
	{"change the kernel", []string{
		"init_module", "finit_module", "delete_module", "create_module", "kexec_load", "kexec_file_load", "bpf", "lookup_dcookie", "nfsservctl", "uselib", "_sysctl"}},
	{"act for the machine", []string{
		"reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "settimeofday", "stime", "clock_settime", "clock_settime64",
		"sethostname", "setdomainname", "syslog", "iopl", "ioperm", "vhangup"}},
	{"use keys that no namespace keeps apart", []string{"add_key", "request_key", "keyctl"}},
	{"use parts of the kernel that escapes have come through and functions do without", []string{
		"userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "vmsplice"}},
}

// newNamespaces are clone's flags that unshare has too.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// abis are the tables of system calls that the kernels of a machine take, by GOARCH.
// One of 64 bits takes those of 32, which have other numbers: a filter of one table
// alone would let the other pass.
var abis = map[string][]*arch.Info{
	"amd64": {arch.X86_64, arch.I386},
	"arm64": {arch.AARCH64, arch.ARM},
	"arm":   {arch.ARM},
	"386":   {arch.I386},
}

// Offsets in what a filter sees of a call (seccomp(2), struct seccomp_data).
const (
	offCall      = 0
	offABI       = 4
	offArgument0 = 16 // its lower half, on the little-endian machines of abis
)

// firstX32 is the first number of x86_64's third table.
const firstX32 = 0x40000000

// filter is the program that refuses what is forbidden.
func filter() ([]bpf.RawInstruction, error) {
	tables := abis[runtime.GOARCH]
	if tables == nil {
		return nil, fmt.Errorf("the system calls of %s are not known to this version", runtime.GOARCH)
	}
	refuse := func(e unix.Errno) bpf.Instruction { return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(e)} }
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: offABI, Size: 4}}
	for _, table := range tables {
		part := []bpf.Instruction{bpf.LoadAbsolute{Off: offCall, Size: 4}}
		if table == arch.X86_64 {
			part = append(part, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: firstX32, SkipTrue: 1}, refuse(unix.ENOSYS))
		}
		for _, row := range forbidden {
			for _, name := range row.calls {
				if number, ok := table.SyscallNames[name]; ok {
					part = append(part, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(number), SkipTrue: 1}, refuse(unix.EPERM))
				}
			}
		}
		// The flags of clone3 lie in memory, where no filter sees them; without it
		// programs use clone.
		if number, ok := table.SyscallNames["clone3"]; ok {
			part = append(part, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(number), SkipTrue: 1}, refuse(unix.ENOSYS))
		}
		part = append(part,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(table.SyscallNames["clone"]), SkipTrue: 3},
			bpf.LoadAbsolute{Off: offArgument0, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: newNamespaces, SkipTrue: 1}, refuse(unix.EPERM),
			bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(table.ID), SkipTrue: 1}, bpf.Jump{Skip: uint32(len(part))})
		program = append(program, part...)
	}
	return bpf.Assemble(append(program, refuse(unix.ENOSYS)))
}

// forbid has the calling thread, and what it starts, refused what is forbidden.
func forbid() error {
	raw, err := filter()
	if err != nil {
		return err
	}
	list := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		list[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(list)), Filter: &list[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return fmt.Errorf("install the filter of system calls: %w", e)
	}
	return nil
}
