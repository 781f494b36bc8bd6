package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/examples/internal/sqlitefile"
	"github.com/keyturn/apikey/sqlstore"
)

// issued is what a page shows once.
type issued struct{ id, token string }

var testForm = regexp.MustCompile(`action="[^"]*key/([0-9A-Za-z]+)/test"`)

func issuedOn(t *testing.T, p page) issued {
	t.Helper()
	id, token := testForm.FindStringSubmatch(p.body), p.text("s-token")
	if p.status != 200 || id == nil || token == "" {
		t.Fatalf("no token at %s (%d):\n%s", p.at, p.status, p.body)
	}
	return issued{id[1], token}
}

func (b *browser) generate(name string, scope string) page {
	b.t.Helper()
	return b.get("/keys/new").submit("new", "name", name, "scope", scope)
}

func TestGenerateCallRegenerate(t *testing.T) {
	p := start(t)
	ada := p.loggedIn("ada@example.com")

	shown := ada.generate("Night job", "orders:read")
	first := issuedOn(t, shown)
	curl := "curl -H 'Authorization: Bearer " + first.token + "' '" + p.url + "/v1/whoami'"
	if got := shown.text("s-curl"); got != curl {
		t.Errorf("the line to try is %q, want %q", got, curl)
	}
	check := func(method, path, token, want string) {
		t.Helper()
		if got := p.call(method, path, token); !strings.HasPrefix(got, want) {
			t.Errorf("%s %s: %s, want %s", method, path, got, want)
		}
	}
	check("GET", "/v1/whoami", first.token, `200 customer-17, with the key "Night job" and the scopes "orders:read"`)
	check("GET", "/v1/orders", first.token, "200 orders of customer-17")
	check("POST", "/v1/orders", first.token, "403")

	second := issuedOn(t, ada.get("/keys/key/"+first.id+"/regenerate").submit("regenerate", "choice", "0"))
	if second.id != first.id || second.token == first.token {
		t.Errorf("regenerating %v gave %v", first, second)
	}
	check("GET", "/v1/whoami", first.token, "401")
	check("GET", "/v1/whoami", second.token, "200 customer-17")
	if history := ada.get("/keys/key/" + first.id); !history.has("ada@example.com") || !history.has("Compromised") {
		t.Errorf("the history does not say who, or why:\n%s", history.body)
	}

	// The scope of a browser's form is not what counts.
	refused := ada.generate("Admin", "admin:all")
	if refused.status != 400 || refused.text("s-token") != "" {
		t.Errorf("a scope that is not offered: %d", refused.status)
	}
	// What opens the pages does not open the API.
	if got := ada.get("/v1/whoami"); got.status != 401 {
		t.Errorf("the API with the cookie of a session alone: %d, want 401", got.status)
	}
}

func TestOwnersApart(t *testing.T) {
	p := start(t)
	ada, grace := p.loggedIn("ada@example.com"), p.loggedIn("grace@example.com")
	key := issuedOn(t, ada.generate("Night job", "orders:read"))

	ofAda, ofGrace := ada.get("/keys/"), grace.get("/keys/")
	for text, where := range map[string]string{
		"ada@example.com": "ada", "customer-17": "ada", "Night job": "ada", "Billing, production": "ada",
		"Weekly report": "ada", "Test bench": "ada", "Web shop": "ada",
		"grace@example.com": "grace", "customer-42": "grace", "Warehouse": "grace",
	} {
		if ofAda.has(text) != (where == "ada") || ofGrace.has(text) != (where == "grace") {
			t.Errorf("%q stands on the page of ada: %v, of grace: %v, want %s", text, ofAda.has(text), ofGrace.has(text), where)
		}
	}

	nothing := grace.get("/keys/key/" + strings.Repeat("0", len(key.id)))
	for _, path := range []string{"", "/history", "/edit", "/disable", "/regenerate", "/rotate", "/delete"} {
		if got := grace.get("/keys/key/" + key.id + path); got.status != 404 || path == "" && got.body != nothing.body {
			t.Errorf("GET %s of another's key: %d, want 404, as for one that there is not", path, got.status)
		}
	}
	for dialog, fields := range map[string][2]string{
		"edit": {"name", "Taken"}, "disable": {}, "regenerate": {"choice", "0"}, "rotate": {"overlap", "0"}, "delete": {"typed", "Night job"},
	} {
		to, form := ada.get("/keys/key/" + key.id + "/" + dialog).form(dialog)
		form.Set(fields[0], fields[1])
		if got := grace.send("POST", to, form); got.status != 404 {
			t.Errorf("POST %s of another's key: %d, want 404", dialog, got.status)
		}
	}
	if got := p.call("GET", "/v1/whoami", key.token); !strings.HasPrefix(got, "200 ") {
		t.Errorf("afterwards the key is refused: %s", got)
	}
}

func TestKeptInFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "my keys?#100%.db")
	first := start(t, "-db", file)
	key := issuedOn(t, first.loggedIn("ada@example.com").generate("Night job", "orders:read"))
	for range 3 {
		first.call("GET", "/v1/whoami", key.token)
	}
	first.stop()

	if got, want := uses(t, file), int64(3); got["Night job"] != want {
		t.Errorf("%d uses were kept, want %d", got["Night job"], want)
	}
	notStored(t, file, key.token)
	pepper, err := os.Stat(file + ".pepper")
	if err != nil {
		t.Fatal(err)
	}
	if mode := pepper.Mode().Perm(); mode != 0o600 {
		t.Errorf("the pepper has the mode %o, want 600", mode)
	}

	second := start(t, "-db", file)
	if got := second.call("GET", "/v1/whoami", key.token); !strings.HasPrefix(got, "200 ") {
		t.Errorf("after a restart the key is refused: %s", got)
	}
	if second.passwords["ada@example.com"] == first.passwords["ada@example.com"] {
		t.Error("the password is that of the run before")
	}
	second.stop()
	if got := uses(t, file); len(got) != 7 {
		t.Errorf("after a restart there are the keys %v, want the same 7", got)
	}
}

// uses returns the uses of each key in a database, by name.
func uses(t *testing.T, file string) map[string]int64 {
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
	keys, err := manager.List(t.Context(), apikey.Query{IncludeDeleted: true})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int64{}
	for _, k := range keys {
		if _, twice := found[k.Name]; twice {
			t.Errorf("there are two keys %q", k.Name)
		}
		found[k.Name] = k.Uses
	}
	return found
}

// notStored checks that no file of the database holds a token. That all files
// are read shows in a name that must be there.
func notStored(t *testing.T, file, token string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Dir(file) + "/*")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
	}
	secret := token[strings.LastIndexByte(token, '_')+1:]
	// The 32 random characters, without the checksum that follows.
	if !bytes.Contains(all, []byte("Night job")) || bytes.Contains(all, []byte(secret[:32])) {
		t.Error("the files of the database hold the secret, or not the key")
	}
}

func TestTemporaryFileRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	p := start(t)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("while it runs there are %v, %v", left, err)
	}
	p.stop()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDemoKeys(t *testing.T) {
	p := start(t)
	list := p.loggedIn("ada@example.com").get("/keys/")
	for _, text := range []string{"Rotating", "Disabled", "support@example.net", "public repository"} {
		if !list.has(text) {
			t.Errorf("the list says nothing of %q:\n%s", text, list.body)
		}
	}
	id := regexp.MustCompile(`href="[^"]*key/([0-9A-Za-z]+)"[^>]*>(?:<[^>]*>)*Billing, production`).FindStringSubmatch(list.body)
	if id == nil {
		t.Fatalf("no link to the key:\n%s", list.body)
	}
	key := p.loggedIn("ada@example.com").get("/keys/key/" + id[1])
	if !key.has("<svg") || !key.has("Rotation in progress") || !key.has("has been used since the rotation") {
		t.Errorf("the page of the key has no plot, or no rotation:\n%s", key.body)
	}
}

func TestArguments(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	t.Setenv("TMPDIR", t.TempDir())
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"help", []string{"-h"}, ""},
		{"unknown flag", []string{"-x"}, "flag provided but not defined"},
		{"argument", []string{"keys.db"}, "unexpected argument"},
		{"no database", []string{"-db", text}, "file is not a database"},
		{"address in use", []string{"-addr", taken.Addr().String()}, "address already in use"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := run(t.Context(), test.args, io.Discard)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("run returned %v, want %q", err, test.want)
			}
		})
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestShownAddress(t *testing.T) {
	got := &net.TCPAddr{IP: net.IPv6loopback, Port: 4711}
	for asked, want := range map[string]string{
		"localhost:0":      "localhost:4711",
		":8080":            "localhost:4711",
		"0.0.0.0:0":        "localhost:4711",
		"[::]:0":           "localhost:4711",
		"127.0.0.1:0":      "127.0.0.1:4711",
		"[::1]:0":          "[::1]:4711",
		"keys.example:443": "keys.example:4711",
	} {
		if address := shownAddress(asked, got); address != want {
			t.Errorf("-addr %s is shown as %s, want %s", asked, address, want)
		}
	}
}
