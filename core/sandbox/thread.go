package sandbox

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onOwnThread calls f on a thread that ends with the call: what f changes of its thread
// (control groups, rights) is nobody else's. It is never the main thread. That one does
// not end when its goroutine does, Go only parks it, and the kernel takes its control
// groups for those of the whole process.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// Another goroutine is on another thread while this one keeps the main one.
			onOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}
