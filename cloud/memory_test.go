package cloud

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestMemoryPage holds what docs/scaling.md says of 10,000 cores against what doctor reckons with.
func TestMemoryPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	const need = memoryBase + 10_000*memoryCore
	says := fmt.Sprintf("%d MB and %d KB for each core, %d,%03d MB for 10,000", memoryBase>>20, memoryCore>>10, need>>20/1000, need>>20%1000)
	if !strings.Contains(string(page), says) {
		t.Errorf("docs/scaling.md does not say %q", says)
	}
	if advised := (memory{bytes: 3 << 29}); advised.limit() < need || !strings.Contains(string(page), "| memory of each | 1.5 GB ") {
		t.Errorf("docs/scaling.md does not advise 1.5 GB, or that is too little: %d MB of %d count", advised.limit()>>20, need>>20)
	}
	if aim := (memory{bytes: 1 << 30}); aim.limit() >= need {
		t.Error("1 GB is enough for 10,000 cores: docs/scaling.md says that it is not")
	}
}

func TestMemoryOf(t *testing.T) {
	t.Parallel()
	const machine = "MemTotal:        2048000 kB\nMemFree:          100 kB\n"
	for name, tc := range map[string]struct {
		files map[string]string
		want  int64
		of    string
	}{
		"nothing is known":    {nil, 0, "this machine's memory"},
		"the machine's":       {map[string]string{"proc/meminfo": machine}, 2048000 << 10, "this machine's memory"},
		"a malformed machine": {map[string]string{"proc/meminfo": "MemTotal: much"}, 0, "this machine's memory"},
		"version 2, without a limit": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/fescue.service\n", "sys/fs/cgroup/system.slice/fescue.service/memory.max": "max\n",
		}, 2048000 << 10, "this machine's memory"},
		"version 2": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/fescue.service\n", "sys/fs/cgroup/system.slice/fescue.service/memory.max": "1000000\n",
		}, 1000000, "the memory of its control group (/sys/fs/cgroup/system.slice/fescue.service/memory.max)"},
		"version 2, of a group above": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "2000000\n", "sys/fs/cgroup/a/memory.max": "1000000\n",
		}, 1000000, "the memory of its control group (/sys/fs/cgroup/a/memory.max)"},
		"version 2, in a container": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000\n",
		}, 1000000, "the memory of its control group (/sys/fs/cgroup/memory.max)"},
		"version 1": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "9:memory:/fescue\n8:cpu,cpuacct:/\n", "sys/fs/cgroup/memory/fescue/memory.limit_in_bytes": "1000000\n",
		}, 1000000, "the memory of its control group (/sys/fs/cgroup/memory/fescue/memory.limit_in_bytes)"},
		"version 1, in a container that sees its own alone": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "9:memory:/docker/0123\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000\n",
		}, 1000000, "the memory of its control group (/sys/fs/cgroup/memory/memory.limit_in_bytes)"},
		"version 1, without a limit": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "9:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 2048000 << 10, "this machine's memory"},
		"malformed": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0:\n\n:::\n0::../../etc\n", "sys/fs/cgroup/etc/memory.max": "-5",
		}, 2048000 << 10, "this machine's memory"},
	} {
		root := fstest.MapFS{}
		for file, text := range tc.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if m := memoryOf(root, "self"); m.bytes != tc.want || m.of != tc.of {
			t.Errorf("%s: %+v", name, m)
		}
	}
}
