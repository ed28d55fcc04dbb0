package footprint

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// ofFile is how much of this process is memory of files, in KB.
func ofFile(t *testing.T) (kb int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(text, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}

func TestGiveBack(t *testing.T) {
	before := ofFile(t)
	for range 2 {
		if err := giveBack(); err != nil {
			t.Fatal(err)
		}
		if after := ofFile(t); after >= before {
			t.Errorf("%d KB of files before, %d KB after", before, after)
		}
	}
}

func TestOfFiles(t *testing.T) {
	t.Parallel()
	const clean, written = "Size: 4 kB\nAnonymous:             0 kB\nVmFlags: rd ex mr\n", "Anonymous:             8 kB\n"
	for name, tc := range map[string]struct {
		smaps string
		want  []mapping
		bad   bool
	}{
		"a program": {smaps: "00400000-00cf2000 r-xp 00000000 fe:00 9994276                            /usr/bin/fescue-core\n" + clean +
			"00cf2000-015f9000 r--p 008f2000 fe:00 9994276                            /usr/bin/fescue-core (deleted)\n" + clean +
			"015f9000-01655000 rw-p 011f9000 fe:00 9994276                            /usr/bin/fescue-core\n" + clean +
			"01655000-0370e000 rw-p 00000000 00:00 0\n" + clean +
			"c000000000-c000800000 rw-p 00000000 00:00 0\n" + written +
			"7f0000000000-7f0000001000 r--s 00000000 fe:00 12                         /run/shared\n" + clean +
			"7f0000001000-7f0000003000 r--p 00000000 fe:00 13                         /lib/relocated\n" + written +
			"7ffd1b1e6000-7ffd1b1ea000 r--p 00000000 00:00 0                          [vvar]\n" + clean +
			"7ffd1b1ea000-7ffd1b1ec000 r-xp 00000000 00:00 0                          [vdso]\n" + clean,
			want: []mapping{{0x400000, 0x8f2000}, {0xcf2000, 0x907000}}},
		"nothing":               {},
		"an empty line":         {smaps: "\n", bad: true},
		"a mapping without end": {smaps: "00400000 r-xp 00000000 fe:00 1 /x\n" + clean, bad: true},
		"an end before":         {smaps: "00400000-00300000 r-xp 00000000 fe:00 1 /x\n" + clean, bad: true},
		"no inode":              {smaps: "00400000-00500000 r-xp 00000000 fe:00\n" + clean, bad: true},
		"no size":               {smaps: "00400000-00500000 r-xp 00000000 fe:00 1 /x\nAnonymous: none\n", bad: true},
		"nothing of its pages":  {smaps: "00400000-00500000 r-xp 00000000 fe:00 1 /x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, err := ofFiles(strings.NewReader(tc.smaps))
			if (err != nil) != tc.bad {
				t.Errorf("%v", err)
			}
			if !slices.Equal(list, tc.want) {
				t.Errorf("got %x, want %x", list, tc.want)
			}
		})
	}
}
