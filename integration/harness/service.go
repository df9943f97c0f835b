package harness

import (
	"os/exec"
	"syscall"
	"testing"
)

// Service is a program of others that runs beside ours for a test.
type Service struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	said  lockedBuffer
}

// StartService starts a program; the test ends it, and tells what it said when it
// fails.
func StartService(t testing.TB, name string, cmd *exec.Cmd) *Service {
	t.Helper()
	s := &Service{t: t, name: name, cmd: cmd, ended: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // never outlive the tests
	cmd.Stdout, cmd.Stderr = &s.said, &s.said
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait() // it is killed in the end
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("%s:\n%s", name, s.said.Tail(8<<10))
		}
	})
	return s
}

// Until waits until the service does what it is there for, and fails the test when
// it ends before.
func (s *Service) Until(what string, cond func() bool) {
	s.t.Helper()
	Until(s.t, what, func() bool {
		select {
		case <-s.ended:
			s.t.Fatalf("%s ended: %s", s.name, s.cmd.ProcessState)
		default:
		}
		return cond()
	})
}

// Kill ends the service with SIGKILL and waits for its end.
func (s *Service) Kill() { s.End(syscall.SIGKILL) }

// End sends the signal on which the service ends, and waits for that.
func (s *Service) End(signal syscall.Signal) {
	_ = s.cmd.Process.Signal(signal) // it may have ended by itself
	<-s.ended
}
