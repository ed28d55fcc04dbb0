//go:build linux

package test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUp runs `fescue up` twice on one folder, as a new user would.
func TestUp(t *testing.T) {
	t.Parallel()
	data := filepath.Join(openDir(t), "data")
	args := []string{
		"up", "--data", data, "--api", "127.0.0.1:0", "--device", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--ipc", "0",
	}
	for _, run := range []string{"first", "second"} {
		t.Run(run+" run", func(t *testing.T) {
			p := start(t, nil, args...)
			eventually(t, "serving", func() error {
				select {
				case <-p.Done:
					t.Fatalf("up ended: %v\n%s", p.Err, p.out)
				default:
				}
				if _, ok := p.out.Find(`(?m)^(serving)`); !ok {
					return errors.New("not yet")
				}
				return nil
			})
			isolation := `isolation +NoContainer: .*run it as root`
			if os.Geteuid() == 0 {
				// There may be no control groups for it.
				isolation = `isolation +(GreengrassContainer: functions run in containers|NoContainer: .+)`
			}
			// What comes before Success may be over before it is asked for.
			if err := matchAll(p.out.String(), isolation, `status +Success +after`,
				`message +hello/world \{"message": ?"Hello`, `aws --endpoint-url http\S+ greengrass get-deployment-status --group-id \S+ --deployment-id \S+`); err != nil {
				t.Error(err)
			}
			if err := p.interrupt(t); err != nil {
				t.Errorf("up ended with %v", err)
			}
			if !strings.HasSuffix(p.out.String(), "stopped\n") {
				t.Error("up did not say that it stopped")
			}
			info, err := os.Stat(filepath.Join(data, "aws-profile"))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("profile %v, %v: want mode 0600", info, err)
			}
		})
	}
}

// TestUpTakenPort: a port that is taken gives one line that names it and the flag.
func TestUpTakenPort(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for flag, taken := range map[string]string{
		"--api": s.api, "--device": s.device, "--mqtt": s.mqtt, "--ipc": s.api,
	} {
		t.Run(flag, func(t *testing.T) {
			args := []string{"up", "--data", filepath.Join(openDir(t), "data")}
			for _, f := range []string{"--api", "--device", "--mqtt", "--ipc"} {
				value := "127.0.0.1:0"
				if f == flag {
					value = taken
				}
				if f == "--ipc" {
					value = value[strings.LastIndex(value, ":")+1:]
				}
				args = append(args, f, value)
			}
			p := start(t, nil, args...)
			<-p.Done
			if p.ProcessState.ExitCode() != 1 {
				t.Errorf("exit code %d: want 1", p.ProcessState.ExitCode())
			}
			if err := matchAll(p.out.String(), `(?m)^fescue: .*`+taken+`.*`+flag+`$`); err != nil {
				t.Error(err)
			}
		})
	}
}
