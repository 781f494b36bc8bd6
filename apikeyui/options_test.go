package apikeyui_test

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func TestBadOptions(t *testing.T) {
	owner := func(*http.Request) (string, string, error) { return "ada", "", nil }
	layout := func(io.Writer, *http.Request, apikeyui.Page) error { return nil }
	tests := []struct {
		name    string
		options *apikeyui.Options
		field   string
	}{
		{"nil", nil, "options"},
		{"zero", &apikeyui.Options{}, "owner"},
		{"least", &apikeyui.Options{Owner: owner}, ""},
		{"all", &apikeyui.Options{
			Owner: owner, Scopes: []apikeyui.Scope{{Name: "orders:*", Description: "All of orders"}}, Overlaps: []time.Duration{time.Minute},
			Reasons: []string{"Because"}, MaxLifetime: apikey.Period{Years: 2}, Texts: apikeyui.German(), APIURL: "http://localhost:8080/v1?a=b&c=$HOME",
			Stylesheet: "/brand.css", Header: "<p>x</p>", Footer: "<p>y</p>",
		}, ""},
		{"layout", &apikeyui.Options{Owner: owner, Layout: layout}, ""},
		{"layout and header", &apikeyui.Options{Owner: owner, Layout: layout, Header: "x"}, "layout"},
		{"bad scope", &apikeyui.Options{Owner: owner, Scopes: []apikeyui.Scope{{Name: "a b"}}}, "scopes"},
		{"scope twice", &apikeyui.Options{Owner: owner, Scopes: []apikeyui.Scope{{Name: "a"}, {Name: "a"}}}, "scopes"},
		{"long description", &apikeyui.Options{Owner: owner, Scopes: []apikeyui.Scope{{Name: "a", Description: strings.Repeat("x", 201)}}}, "scopes"},
		{"overlap of seconds", &apikeyui.Options{Owner: owner, Overlaps: []time.Duration{time.Hour, 59 * time.Second}}, "overlaps"},
		{"no overlap", &apikeyui.Options{Owner: owner, Overlaps: []time.Duration{0}}, "overlaps"},
		{"empty reason", &apikeyui.Options{Owner: owner, Reasons: []string{""}}, "reasons"},
		{"reason with a line break", &apikeyui.Options{Owner: owner, Reasons: []string{"a\nb"}}, "reasons"},
		{"long reason", &apikeyui.Options{Owner: owner, Reasons: []string{strings.Repeat("x", 101)}}, "reasons"},
		{"reason of blank letters", &apikeyui.Options{Owner: owner, Reasons: []string{"\u3164"}}, "reasons"},
		{"empty reason as a text", &apikeyui.Options{Owner: owner, Texts: apikeyui.Texts{"reason.update": ""}}, "reasons"},
		{"long reason as a text", &apikeyui.Options{Owner: owner, Texts: apikeyui.Texts{"reason.compromised": strings.Repeat("x", 101)}}, "reasons"},
		{"reason with a line break as a text", &apikeyui.Options{Owner: owner, Texts: apikeyui.Texts{"reason.precaution": "a\nb"}}, "reasons"},
		{"unused reason as a text", &apikeyui.Options{Owner: owner, Reasons: []string{"x"}, Texts: apikeyui.Texts{"reason.update": ""}}, ""},
		{"negative lifetime", &apikeyui.Options{Owner: owner, MaxLifetime: apikey.Period{Days: -1}}, "max_lifetime"},
		{"unknown text", &apikeyui.Options{Owner: owner, Texts: apikeyui.Texts{"list.titel": "x"}}, "texts"},
		{"unknown value", &apikeyui.Options{Owner: owner, Texts: apikeyui.Texts{"duration.days": "{days}"}}, "texts"},
		{"text not UTF-8", &apikeyui.Options{Owner: owner, Texts: apikeyui.Texts{"list.title": "\xff"}}, "texts"},
		{"quote in a URL", &apikeyui.Options{Owner: owner, APIURL: "https://api.example/'; rm -rf ~; '"}, "api_url"},
		{"URL with a user", &apikeyui.Options{Owner: owner, APIURL: "https://user:password@api.example/"}, "api_url"},
		{"no URL", &apikeyui.Options{Owner: owner, APIURL: "api.example/v1"}, "api_url"},
		{"script as URL", &apikeyui.Options{Owner: owner, APIURL: "javascript:alert(1)"}, "api_url"},
		{"overlap twice", &apikeyui.Options{Owner: owner, Overlaps: []time.Duration{time.Hour, 60 * time.Minute}}, "overlaps"},
		{"odd overlap", &apikeyui.Options{Owner: owner, Overlaps: []time.Duration{1<<63 - 1}}, "overlaps"},
		{"reason twice", &apikeyui.Options{Owner: owner, Reasons: []string{"a", "b", "a"}}, "reasons"},
		{"stylesheet elsewhere", &apikeyui.Options{Owner: owner, Stylesheet: "https://cdn.example.com/a.css"}, "stylesheet"},
		{"stylesheet of another host", &apikeyui.Options{Owner: owner, Stylesheet: "//cdn.example.com/a.css"}, "stylesheet"},
		{"relative stylesheet", &apikeyui.Options{Owner: owner, Stylesheet: "my.css"}, "stylesheet"},
		{"stylesheet with a quote", &apikeyui.Options{Owner: owner, Stylesheet: `/x"`}, "stylesheet"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			pages, err := apikeyui.New(apikeytest.New(t).Manager, test.options)
			is.Equal(pages == nil, err != nil)
			if test.field == "" {
				is.NoErr(err)
				return
			}
			var field *apikey.FieldError
			is.True(errors.As(err, &field))
			is.Equal(field.Field, test.field)
		})
	}
	_, err := apikeyui.New(nil, tests[2].options)
	if field, ok := errors.AsType[*apikey.FieldError](err); !ok || field.Field != "manager" {
		t.Errorf("without a Manager: %v", err)
	}
}

// TestOptionsAreCopied: what a host does to its options later changes nothing.
func TestOptionsAreCopied(t *testing.T) {
	is := is.New(t)
	texts, scopes, reasons := apikeyui.Texts{"list.title": "Access"}, []apikeyui.Scope{{Name: "a"}}, []string{"Because"}
	s := newSite(t, func(o *apikeyui.Options) { o.Texts, o.Scopes, o.Reasons = texts, scopes, reasons })
	texts["list.title"], scopes[0].Name, reasons[0] = "changed", "changed", "changed"
	is.True(s.browser(t, "ada").open("").has("Access"))
	is.True(!s.browser(t, "ada").open("new").has("changed"))
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key
	is.True(s.browser(t, "ada").open("key/" + key.ID + "/regenerate").has("Because"))
	apikeyui.English()["list.title"] = "changed"
	is.True(newSite(t).browser(t, "ada").open("").has("API keys"))
}

// TestLayout: the frame is the host's, the safety is not.
func TestLayout(t *testing.T) {
	is := is.New(t)
	fail := false
	s := newSite(t, func(o *apikeyui.Options) {
		o.Stylesheet = "/brand.css"
		o.Layout = func(w io.Writer, r *http.Request, p apikeyui.Page) error {
			if fail {
				return errors.New("layout failed")
			}
			fmt.Fprintf(w, `<html><head><title>%s of %s</title>%s</head><body><nav>ours</nav>%s</body></html>`,
				template.HTMLEscapeString(p.Title), r.Header.Get("Test-Owner"), p.Head, p.Content)
			return nil
		}
	})
	p := s.browser(t, "ada").open("new")
	is.Equal(p.root.all("title")[0].content(), "Generate a new key of ada")
	is.Equal(len(p.root.all("link")), 2)
	is.Equal(p.root.all("link")[1].attr["href"], "/brand.css")
	is.Equal(len(p.root.all("script")), 1)
	is.True(p.root.byID("apikeyui") != nil)
	is.Equal(p.header.Get("Cache-Control"), "no-store")
	is.True(p.submit("new", "name", "x").token() != "")
	is.Equal(s.browser(t, "ada").open("key/x").status, 404)
	fail = true
	w := s.browser(t, "ada").do("GET", home, nil)
	is.Equal(w.Code, 500)
	is.True(!strings.Contains(w.Body.String(), "layout failed"))
	is.Equal(len(s.observed), 1)

	// A token that was made is not lost with the frame.
	fail = false
	ask := s.browser(t, "ada").open("new")
	fail = true
	p = ask.submit("new", "name", "y")
	is.Equal(p.status, 200)
	is.True(p.token() != "")
	is.Equal(len(s.observed), 2)
}

// TestLongPaths: what is no page costs little, and its answer is short.
func TestLongPaths(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	for _, path := range []string{"a/b/c/d", strings.Repeat("/", 100_000), "key/x/y/z"} {
		w := s.browser(t, "ada").do("GET", home+path, nil)
		is.Equal(w.Code, 404)
		is.True(w.Body.Len() < 10_000)
	}
}

func TestHeaderAndFooter(t *testing.T) {
	is := is.New(t)
	s := newSite(t, func(o *apikeyui.Options) {
		o.Header, o.Footer = `<header id="ours">Shop</header>`, `<footer id="below">Imprint</footer>`
	})
	p := s.browser(t, "ada").open("")
	is.Equal(p.root.byID("ours").content(), "Shop")
	is.Equal(p.root.byID("below").content(), "Imprint")
}

// TestGerman: the second language says all that the first does, with the same
// values, and is what the pages then show.
func TestGerman(t *testing.T) {
	is := is.New(t)
	english, german := apikeyui.English(), apikeyui.German()
	value := regexp.MustCompile(`\{[^}]*\}`)
	for name, text := range english {
		if german[name] == "" {
			t.Errorf("%s is missing", name)
		}
		if a, b := value.FindAllString(text, -1), value.FindAllString(german[name], -1); !slices.Equal(a, b) {
			t.Errorf("%s: %q and %q", name, a, b)
		}
	}
	is.Equal(len(german), len(english))
	s := newSite(t, func(o *apikeyui.Options) { o.Texts = german })
	p := s.browser(t, "ada").open("")
	is.Equal(p.root.all("html")[0].attr["lang"], "de")
	is.True(p.has("Keine API-Schlüssel"))
	is.True(p.follow("new").submit("new", "name", "").has("Darf nicht leer sein."))
}

// TestTexts: every text that a template names is there, and what is there is
// named somewhere.
func TestTexts(t *testing.T) {
	english := apikeyui.English()
	used := map[string]bool{"lang": true}
	files, err := apikeyui.TemplateFiles.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`"([a-z_]+(?:\.[a-z_]+)+)"`)
	for _, file := range files {
		text, err := apikeyui.TemplateFiles.ReadFile("templates/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range name.FindAllStringSubmatch(string(text), -1) {
			if english[match[1]] == "" && match[1] != "field.reason" && match[1] != "field.overlap" && match[1] != "fields.key" {
				t.Errorf("%s: no text %s", file.Name(), match[1])
			}
			used[match[1]] = true
		}
	}
	for _, code := range apikeyui.ProblemCodes() {
		if english["problem."+code+".title"] == "" || english["problem."+code+".text"] == "" {
			t.Errorf("no text for the problem %s", code)
		}
	}
	for _, r := range apikeyui.Routes() {
		if dialog, ok := strings.CutPrefix(r[1], "/key/{id}/"); ok && english[dialog+".title"] == "" {
			t.Errorf("no title for %s", dialog)
		}
	}
}

// TestPlaces: wherever the handler is mounted, every link and form leads to one
// of its pages.
func TestPlaces(t *testing.T) {
	keys := apikeytest.New(t)
	key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "second"})
	ui := newPages(keys.Manager, &apikeyui.Options{
		Owner: func(*http.Request) (string, string, error) { return "ada", "", nil },
	})
	for _, prefix := range []string{"", "/keys", "/a/b/c"} {
		t.Run(prefix, func(t *testing.T) {
			is := is.New(t)
			mux := http.NewServeMux()
			mux.Handle(prefix+"/", http.StripPrefix(prefix, ui))
			queue, seen := []string{prefix + "/"}, map[string]bool{prefix + "/": true}
			for len(queue) > 0 {
				address := queue[0]
				queue = queue[1:]
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, httptest.NewRequest("GET", address, nil))
				base, err := url.Parse(address)
				is.NoErr(err)
				if w.Code != 200 {
					t.Errorf("%s: %d", address, w.Code)
				}
				if strings.Contains(address, ".css") || strings.Contains(address, ".js") {
					continue
				}
				parse(t, w.Body.String()).walk(func(n *node) {
					for _, attr := range []string{"href", "src", "action"} {
						if n.attr[attr] == "" {
							continue
						}
						to, err := base.Parse(n.attr[attr])
						if err != nil || !strings.HasPrefix(to.EscapedPath(), prefix+"/") {
							t.Errorf("%s: %s leads out", address, n.attr[attr])
						} else if !seen[to.String()] {
							seen[to.String()] = true
							queue = append(queue, to.String())
						}
					}
				})
			}
			is.True(len(seen) > 14)
			is.True(seen[prefix+"/key/"+key.ID+"/delete"])
		})
	}
	// A mount without the slash at its end.
	for prefix, want := range map[string]string{"/keys": "./keys/", "/a/keys": "./keys/", "/a/b:c": "./b:c/"} {
		w := httptest.NewRecorder()
		http.StripPrefix(prefix, ui).ServeHTTP(w, httptest.NewRequest("GET", prefix, nil))
		if w.Code != 303 || w.Header().Get("Location") != want {
			t.Errorf("%s: %d to %q", prefix, w.Code, w.Header().Get("Location"))
		}
	}
	// One that cuts off the slash as well.
	for address, want := range map[string]int{"/keys/": 200, "/keys/new": 200, "/keys//evil.example": 404, "/keys/new/": 404} {
		w := httptest.NewRecorder()
		http.StripPrefix("/keys/", ui).ServeHTTP(w, httptest.NewRequest("GET", address, nil))
		if w.Code != want {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
}
