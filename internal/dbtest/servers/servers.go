//go:build linux

// Package servers starts database servers of a test's own, each with a data
// directory of its own, that a test may kill. They are reached by Unix sockets
// only, and end with the test, or with the program that runs it.
//
// Killing a server loses nothing that it has handed to the operating system,
// flushed to the disk or not: that it asks for the flush a test cannot see.
package servers

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is one server. Its methods fail the test if they do not succeed, and
// are called by the goroutine that runs it.
type Server struct {
	t       testing.TB
	dir     string // holds the data, the socket and what the server says
	name    string // of what it says: name.log
	account *syscall.Credential

	driver, dsn string
	command     func() []string // that starts it
	ready       func(context.Context, *sql.DB) error
	stop        syscall.Signal // that ends it in order, without waiting for clients

	process *os.Process
	ended   chan struct{} // closed when the process has ended
}

// DSN returns the data source name of the database "test": a URL for
// PostgreSQL, for MariaDB as go-sql-driver has it.
func (s *Server) DSN() string { return s.dsn }

// Start starts the server again after Kill or Stop, and waits until it has
// recovered and answers.
func (s *Server) Start() {
	s.t.Helper()
	s.launch()
	s.await()
}

// Kill ends the server as a crash does: no process of it runs another
// instruction of its own.
func (s *Server) Kill() {
	s.t.Helper()
	if !s.running() {
		return
	}
	// Stopped, it starts no child while they are looked for. Children of
	// PostgreSQL outlive it otherwise until their statement is done.
	if err := s.process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	all := append([]int{s.process.Pid}, children(s.process.Pid)...)
	for _, pid := range all {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.t.Fatal(err)
		}
	}
	<-s.ended
	for _, pid := range all[1:] {
		s.wait("the end of its children", func() bool { return !alive(pid) })
	}
}

// Stop lets the server end in order, whoever is connected.
func (s *Server) Stop() {
	s.t.Helper()
	if !s.running() {
		return
	}
	if err := s.process.Signal(s.stop); err != nil {
		s.t.Fatal(err)
	}
	s.wait("its end", func() bool { return !s.running() })
}

// patience is how long a server may take for anything.
const patience = 2 * time.Minute

// newServer returns one that has no process yet, with a directory that its
// account may write to. As root the servers refuse to run.
func newServer(t testing.TB, account string) *Server {
	t.Helper()
	// Not that of the test, which no other account may enter.
	dir, err := os.MkdirTemp("", "apikey-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir, name: "server"}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if os.Geteuid() == 0 {
		s.account = credential(t, account)
		if err := os.Chown(dir, int(s.account.Uid), int(s.account.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func credential(t testing.TB, account string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(account)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// program returns the path of a program: the newest that a pattern finds, or
// else one of the PATH. Without it the test is left out, but not in CI.
func program(t testing.TB, patterns ...string) string {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			return slices.Max(found)
		}
	}
	name := filepath.Base(patterns[0])
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing, and in CI no test is left out: see .ci/servers", name)
	}
	t.Skipf("%s is missing: see .ci/servers", name)
	return ""
}

// run runs a program to its end, as the account of the server, and returns
// what it said.
func (s *Server) run(command ...string) string {
	s.t.Helper()
	cmd := s.prepare(command)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", command[0], err, out)
	}
	return string(out)
}

func (s *Server) prepare(command []string) *exec.Cmd {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.account, Setsid: true}
	return cmd
}

// launch starts the process.
func (s *Server) launch() {
	s.t.Helper()
	cmd := s.prepare(s.command())
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	log, err := os.OpenFile(filepath.Join(s.dir, s.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	started := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		// The signal comes when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	s.process, s.ended = cmd.Process, ended
	s.t.Cleanup(s.Kill)
}

// await waits until the server answers.
func (s *Server) await() {
	s.t.Helper()
	db, err := sql.Open(s.driver, s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxIdleConns(-1)
	s.wait("an answer", func() bool {
		if !s.running() {
			s.t.Fatalf("%s has ended by itself%s", s.name, s.said())
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return s.ready(ctx, db) == nil
	})
}

func ping(ctx context.Context, db *sql.DB) error { return db.PingContext(ctx) }

// wait asks until something is so: a server tells nobody by itself.
func (s *Server) wait(what string, done func() bool) {
	s.t.Helper()
	end := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-end:
			s.t.Fatalf("%s: waited %v for %s%s", s.name, patience, what, s.said())
		}
	}
}

func (s *Server) running() bool {
	if s.process == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// said returns the end of what the server has said.
func (s *Server) said() string {
	b, err := os.ReadFile(filepath.Join(s.dir, s.name+".log"))
	if err != nil {
		return ": " + err.Error()
	}
	return ":\n" + string(b[max(0, len(b)-2000):])
}

// children returns the processes that a process has started.
func children(parent int) (all []int) {
	found, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range found {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if _, ppid := state(pid); ppid == parent {
			all = append(all, pid)
		}
	}
	return all
}

// alive reports whether a process runs: one that nobody has waited for yet
// does not.
func alive(pid int) bool {
	letter, _ := state(pid)
	return letter != "" && letter != "Z" && letter != "X"
}

// state returns the letter of a process's state and its parent.
func state(pid int) (letter string, parent int) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", 0
	}
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return "", 0
	}
	parent, err = strconv.Atoi(fields[1])
	if err != nil {
		return "", 0
	}
	return fields[0], parent
}
