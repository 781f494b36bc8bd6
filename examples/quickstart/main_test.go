package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/examples/internal/sqlitefile"
	"github.com/keyturn/apikey/sqlstore"
)

// The test program is also the program itself, for its exit status, and the
// curl of the printed lines, so that they can be tried where there is none.
func TestMain(m *testing.M) {
	switch os.Getenv("QUICKSTART_TEST") {
	case "main":
		main()
	case "curl":
		if err := curl(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// walkOn runs the program on a database file and returns what it printed.
func walkOn(t *testing.T, file string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-db", file}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String()
}

func TestRunTwiceOnOneFile(t *testing.T) {
	// A name that has a meaning in a URI, where it is not escaped.
	file := filepath.Join(t.TempDir(), "my keys?#100%.db")

	first := walkOn(t, file)
	for _, line := range []string{
		"found     nothing, the database is new",
		"the customer issues a key with the scope orders:read +done",
		"GET /orders as Authorization: Bearer +200 orders of customer-17",
		"POST /orders needs orders:write +403 insufficient_scope",
		"GET /orders with its token +401 disabled",
		"GET /orders with the old token +401 replaced",
		"GET /orders with no key +401 no_credential",
		"GET /orders with the token of another service +401 invalid_token",
		"GET /orders at that instant +401 expired",
		"GET /orders with its token +401 deleted",
		`   1  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  key.issued +\w{16}  customer-17  for the billing program`,
		"key.regenerated +\\w{16}  support +token was posted in a chat",
		"one event for each change +9 events",
		"All 35 steps came out as expected.",
	} {
		if !regexp.MustCompile(line).MatchString(first) {
			t.Errorf("the first run prints nothing like %q:\n%s", line, first)
		}
	}
	secret := onlySecret(t, first)
	notStored(t, file, secret)

	second := walkOn(t, file)
	for _, line := range []string{
		"found     2 keys and 9 events of earlier runs",
		"ak_\\w{16}  billing  deleted +11 uses",
		"ak_\\w{16}  reports  active +1 uses",
		"  10  .*  key.issued ",
		"All 35 steps came out as expected.",
	} {
		if !regexp.MustCompile(line).MatchString(second) {
			t.Errorf("the second run prints nothing like %q:\n%s", line, second)
		}
	}
	if strings.Contains(second, secret) || onlySecret(t, second) == secret {
		t.Error("the second run prints the secret of the first")
	}
	notStored(t, file, secret)
}

// onlySecret returns the secret of the one token in a text.
func onlySecret(t *testing.T, text string) string {
	t.Helper()
	var secrets []string
	for found := range apikey.Scan([]byte(text), "ak") {
		token := found.Token.Reveal()
		secrets = append(secrets, token[strings.LastIndexByte(token, '_')+1:])
	}
	if len(secrets) != 1 {
		t.Fatalf("%d tokens in the output, want 1:\n%s", len(secrets), text)
	}
	if n := strings.Count(text, secrets[0]); n != 1 {
		t.Fatalf("the secret stands %d times in the output, want 1:\n%s", n, text)
	}
	return secrets[0]
}

// notStored checks that a secret is in no file of the database. That all files
// are read shows in a text that must be there.
func notStored(t *testing.T, file, secret string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(filepath.Dir(file), f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
	}
	if !bytes.Contains(all, []byte("for the billing program")) {
		t.Error("the files of the database do not hold the log")
	}
	// The 32 random characters, without the checksum that follows.
	if bytes.Contains(all, []byte(secret[:32])) {
		t.Error("the files of the database hold the secret")
	}
	for found := range apikey.Scan(all, "ak") {
		t.Errorf("the files of the database hold the token of %s", found.AccessKey)
	}
}

func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	file := filepath.Join(t.TempDir(), "keys.db")
	began := time.Now()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-serve", "-db", file}, writer)
		writer.CloseWithError(err)
		ended <- err
	}()

	var token string
	var lines []string
	scanner := bufio.NewScanner(reader)
	for len(lines) < 5 && scanner.Scan() {
		switch line := scanner.Text(); {
		case strings.HasPrefix(line, "TOKEN="):
			token = line
		case strings.HasPrefix(line, "curl "):
			lines = append(lines, line)
		}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{"200", "200", "200", "403", "401"}
	if len(lines) != len(want) {
		t.Fatalf("%d lines begin with curl, want %d", len(lines), len(want))
	}
	path := curlPath(t)
	for i, line := range lines {
		shell := exec.CommandContext(ctx, "sh", "-c", token+"\n"+line)
		shell.Env = append(os.Environ(), "PATH="+path, "QUICKSTART_TEST=curl")
		got, err := shell.CombinedOutput()
		if err != nil || string(got) != want[i] {
			t.Errorf("%s: got %q, %v, want %s", line, got, err, want[i])
		}
	}
	notStored(t, file, token[strings.LastIndexByte(token, '_')+1:])

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("after the end of its context run returned %v", err)
	}
	if at := lastEvent(t, file).At; at.Before(began.Add(-time.Second)) || at.After(time.Now()) {
		t.Errorf("the fresh key was issued at %v, want now", at)
	}
}

func lastEvent(t *testing.T, file string) apikey.Event {
	t.Helper()
	db, err := sqlitefile.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	manager, err := apikey.New(sqlstore.New(db, sqlstore.SQLite, nil), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		t.Fatal(err)
	}
	events, err := allEvents(t.Context(), manager, apikey.Position{})
	if err != nil || len(events) == 0 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	return events[len(events)-1]
}

// curlPath returns a search path on which curl is this test program.
func curlPath(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, "curl")); err != nil {
		t.Fatal(err)
	}
	return dir + string(filepath.ListSeparator) + os.Getenv("PATH")
}

// curl makes a request and prints the status.
func curl(args []string) error {
	method, header := http.MethodGet, http.Header{}
	flags := flag.NewFlagSet("curl", flag.ContinueOnError)
	flags.Bool("i", false, "")
	flags.StringVar(&method, "X", method, "")
	flags.Func("H", "", func(line string) error {
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
		return nil
	})
	user := flags.String("u", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("%d addresses", flags.NArg())
	}
	request, err := http.NewRequest(method, flags.Arg(0), nil)
	if err != nil {
		return err
	}
	request.Header = header
	if name, password, found := strings.Cut(*user, ":"); found {
		request.SetBasicAuth(name, password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Print(response.StatusCode)
	return nil
}

func TestExitStatus(t *testing.T) {
	dir := t.TempDir()
	noDatabase := filepath.Join(dir, "text.db")
	if err := os.WriteFile(noDatabase, []byte(strings.Repeat("no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		args   []string
		status int
		stderr string
	}{
		{"all is well", nil, 0, ""},
		{"help", []string{"-h"}, 0, "Usage of quickstart"},
		{"unknown flag", []string{"-x"}, 1, "flag provided but not defined"},
		{"argument", []string{"keys.db"}, 1, "unexpected argument"},
		{"no database", []string{"-db", noDatabase}, 1, "file is not a database"},
		{"no directory", []string{"-db", filepath.Join(dir, "none", "keys.db")}, 1, "unable to open database file"},
		{"no address", []string{"-addr", "nowhere"}, 1, "address nowhere"},
	} {
		t.Run(test.name, func(t *testing.T) {
			temporary := t.TempDir()
			var stderr bytes.Buffer
			command := exec.CommandContext(t.Context(), program, test.args...)
			command.Env = append(os.Environ(), "QUICKSTART_TEST=main", "TMPDIR="+temporary)
			command.Stderr = &stderr
			if err := command.Run(); command.ProcessState == nil {
				t.Fatal(err)
			}
			if got := command.ProcessState.ExitCode(); got != test.status {
				t.Errorf("exit status %d, want %d\n%s", got, test.status, &stderr)
			}
			if !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("it says %q, want something with %q", &stderr, test.stderr)
			}
			left, err := os.ReadDir(temporary)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
