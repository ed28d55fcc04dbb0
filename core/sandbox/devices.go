package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// deviceRule lets what is in a control group open a kind of device file. What no rule
// lets is refused, wherever the file lies and whoever asks.
type deviceRule struct {
	block bool
	major uint32
	// minor is anyMinor for all of major.
	minor int64
	// readOnly is for a device that is only read. None may be made.
	readOnly bool
}

const anyMinor = -1

// standardDevices are those that a container's /dev has, with its terminals.
func standardDevices() []deviceRule {
	rules := []deviceRule{{major: 5, minor: 2}, {major: 136, minor: anyMinor}}
	for _, d := range devices {
		rules = append(rules, deviceRule{major: d.major, minor: int64(d.minor)})
	}
	return rules
}

// rulesWith are those of a container that is given some more.
func rulesWith(given []Device) []deviceRule {
	rules := standardDevices()
	for _, d := range given {
		rules = append(rules, deviceRule{block: d.Block, major: d.Major, minor: int64(d.Minor), readOnly: !d.Writable})
	}
	return rules
}

// String is the rule as the controller of version 1 takes it (kernel documentation,
// "Device Whitelist Controller").
func (r deviceRule) String() string {
	kind, minor, access := "c", fmt.Sprint(r.minor), "rw"
	if r.block {
		kind = "b"
	}
	if r.minor == anyMinor {
		minor = "*"
	}
	if r.readOnly {
		access = "r"
	}
	return fmt.Sprintf("%s %d:%s %s", kind, r.major, minor, access)
}

// Fields of what a program of version 2 is asked (bpf.h, struct bpf_cgroup_dev_ctx);
// the first holds what is to be done in its upper half, and the kind of file in its
// lower one.
const (
	devAccess = 0
	devMajor  = 4
	devMinor  = 8
)

// deviceProgram is what the kernel asks in version 2, where the controller is a
// program: 1 lets, 0 refuses.
func deviceProgram(rules []deviceRule) asm.Instructions {
	const kind, access, major, minor = asm.R2, asm.R3, asm.R4, asm.R5
	list := asm.Instructions{
		asm.LoadMem(kind, asm.R1, devAccess, asm.Word),
		asm.Mov.Reg(access, kind),
		asm.And.Imm(kind, 0xffff),
		asm.RSh.Imm(access, 16),
		asm.LoadMem(major, asm.R1, devMajor, asm.Word),
		asm.LoadMem(minor, asm.R1, devMinor, asm.Word),
	}
	for i, r := range rules {
		next := fmt.Sprint("after", i)
		ofKind, refused := int32(unix.BPF_DEVCG_DEV_CHAR), int32(unix.BPF_DEVCG_ACC_MKNOD)
		if r.block {
			ofKind = unix.BPF_DEVCG_DEV_BLOCK
		}
		if r.readOnly {
			refused |= unix.BPF_DEVCG_ACC_WRITE
		}
		list = append(list, asm.JNE.Imm(kind, ofKind, next), asm.JNE.Imm(major, int32(r.major), next))
		if r.minor != anyMinor {
			list = append(list, asm.JNE.Imm(minor, int32(r.minor), next))
		}
		list = append(list,
			asm.Mov.Reg(asm.R0, access), asm.And.Imm(asm.R0, refused), asm.JNE.Imm(asm.R0, 0, next),
			asm.Mov.Imm(asm.R0, 1), asm.Return(),
			// A label is an instruction's: this one does nothing.
			asm.Mov.Imm(asm.R0, 0).WithSymbol(next))
	}
	return append(list, asm.Mov.Imm(asm.R0, 0), asm.Return())
}

// loadDevices gives the kernel the program of some rules.
func loadDevices(rules []deviceRule) (*ebpf.Program, error) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "fescue_devices", Type: ebpf.CGroupDevice, License: "Apache-2.0", Instructions: deviceProgram(rules),
	})
	if err != nil {
		return nil, fmt.Errorf("load the program that keeps devices away (a kernel with CONFIG_CGROUP_BPF): %w", err)
	}
	return program, nil
}

// keepDevices has the kernel ask a program for all in a container's group of version
// 2: the sandbox's, or one of its own where it is given more. It ends with the group.
func (l *limits) keepDevices(id string, given []Device) (err error) {
	program := l.devices
	if len(given) > 0 {
		if program, err = loadDevices(rulesWith(given)); err != nil {
			return err
		}
		defer program.Close()
	}
	group, err := os.Open(filepath.Join(l.folders["memory"], id))
	if err != nil {
		return err
	}
	// What is asked above goes on being asked.
	err = link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: int(group.Fd()), Program: program, Attach: ebpf.AttachCGroupDevice, Flags: unix.BPF_F_ALLOW_MULTI,
	})
	return errors.Join(err, group.Close())
}
