package corelink_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

func TestLogBatchValidate(t *testing.T) {
	t.Parallel()
	good := func() corelink.LogBatch {
		return corelink.LogBatch{ID: fescue.NewID(), GroupID: fescue.NewID(), Logs: []corelink.LogLines{
			{Component: corelink.FunctionLogs, Name: "Blinker", Lost: 3, Lines: []corelink.LogLine{{At: 1, Level: "INFO", Text: "\x00 anything"}}},
			{Component: corelink.SystemLogs, Name: "runtime"},
		}}
	}
	if err := good().Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*corelink.LogBatch){
		"no id":               func(b *corelink.LogBatch) { b.ID = "" },
		"an id that is none":  func(b *corelink.LogBatch) { b.ID = "../x" },
		"no group":            func(b *corelink.LogBatch) { b.GroupID = "" },
		"no logs":             func(b *corelink.LogBatch) { b.Logs = nil },
		"too many logs":       func(b *corelink.LogBatch) { b.Logs = make([]corelink.LogLines, corelink.MaxBatchLogs+1) },
		"another component":   func(b *corelink.LogBatch) { b.Logs[0].Component = "lambda" },
		"no name":             func(b *corelink.LogBatch) { b.Logs[0].Name = "" },
		"a name with a slash": func(b *corelink.LogBatch) { b.Logs[0].Name = "a/b" },
		"a name with a line":  func(b *corelink.LogBatch) { b.Logs[0].Name = "a\nb" },
		"a long name":         func(b *corelink.LogBatch) { b.Logs[0].Name = strings.Repeat("x", 171) },
		"fewer than none":     func(b *corelink.LogBatch) { b.Logs[0].Lost = -1 },
		"before 1970":         func(b *corelink.LogBatch) { b.Logs[0].Lines[0].At = -1 },
		"another level":       func(b *corelink.LogBatch) { b.Logs[0].Lines[0].Level = "info" },
		"a long line":         func(b *corelink.LogBatch) { b.Logs[0].Lines[0].Text = strings.Repeat("x", 128<<10+1) },
		"much text": func(b *corelink.LogBatch) {
			for range 9 {
				b.Logs[0].Lines = append(b.Logs[0].Lines, corelink.LogLine{At: 1, Level: "INFO", Text: strings.Repeat("x", 64<<10)})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := good()
			if spoil(&b); b.Validate() == nil {
				t.Error("it is taken")
			}
		})
	}
}

func TestActivityValidate(t *testing.T) {
	t.Parallel()
	workers := func(n int) corelink.Activity {
		return corelink.Activity{Functions: []corelink.FunctionActivity{{ARN: "arn", Workers: make([]corelink.WorkerActivity, n)}}}
	}
	if err := workers(corelink.MaxActivityWorkers).Validate(); err != nil {
		t.Error(err)
	}
	for name, a := range map[string]corelink.Activity{
		"many workers":   workers(corelink.MaxActivityWorkers + 1),
		"many functions": {Functions: make([]corelink.FunctionActivity, corelink.MaxActivityFunctions+1)},
		"many devices":   {Devices: make([]corelink.DeviceActivity, corelink.MaxActivityDevices+1)},
		"a long address": {Devices: []corelink.DeviceActivity{{Address: strings.Repeat("x", 65)}}},
		"a long ARN":     {Functions: []corelink.FunctionActivity{{ARN: strings.Repeat("x", 513)}}},
		"a long state":   {Functions: []corelink.FunctionActivity{{Workers: []corelink.WorkerActivity{{State: strings.Repeat("x", 65)}}}}},
	} {
		if a.Validate() == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}
