package main

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
)

// program is the example, running.
type program struct {
	t         *testing.T
	url       string
	passwords map[string]string
	stop      func() // ends it as a signal does, and waits
}

// start runs the program on a free port until the end of the test.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), writer)
		writer.CloseWithError(errors.Join(err, io.EOF))
		ended <- err
	}()
	p := &program{t: t, passwords: map[string]string{}}
	p.stop = func() {
		p.stop = func() {}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("at its end run returned %v", err)
		}
	}
	t.Cleanup(func() { p.stop() })

	var printed strings.Builder
	for lines := bufio.NewScanner(reader); lines.Scan() && lines.Text() != "Ctrl-C ends it."; {
		fmt.Fprintln(&printed, lines.Text())
		switch words := strings.Fields(lines.Text()); {
		case len(words) == 2 && words[0] == "pages":
			p.url = strings.TrimSuffix(words[1], "/keys/")
		case len(words) == 3 && words[1] == "password":
			p.passwords[words[0]] = words[2]
		}
	}
	if p.url == "" || len(p.passwords) != 2 {
		t.Fatalf("it does not say where it is, or how to log in:\n%s", &printed)
	}
	return p
}

// browser is one person's, without script.
type browser struct {
	*program
	client *http.Client
}

func (p *program) browser() *browser {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return &browser{p, &http.Client{Jar: jar}}
}

// loggedIn returns the browser of one of the accounts.
func (p *program) loggedIn(email string) *browser {
	p.t.Helper()
	b := p.browser()
	if page := b.logIn(email, p.passwords[email]); page.status != 200 || page.at.Path != "/keys/" {
		p.t.Fatalf("the login of %s ended with %d at %s", email, page.status, page.at)
	}
	return b
}

func (b *browser) logIn(email, password string) page {
	b.t.Helper()
	return b.get("/login").submit("/login", "email", email, "password", password)
}

// session is the cookie of the session, or nil.
func (b *browser) session() *http.Cookie {
	u, _ := url.Parse(b.url)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == "selfservice" {
			return c
		}
	}
	return nil
}

// page is an answer, after redirects.
type page struct {
	b      *browser
	at     *url.URL
	status int
	header http.Header
	body   string
}

func (b *browser) get(path string) page {
	b.t.Helper()
	return b.send("GET", b.url+path, nil)
}

// send makes a request, with pairs of name and value of header fields.
func (b *browser) send(method, address string, form url.Values, header ...string) page {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == "POST" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := b.client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{b, response.Request.URL, response.StatusCode, response.Header, string(body)}
}

// call makes a request to the API with a token, and returns its answer.
func (p *program) call(method, path, token string) string {
	p.t.Helper()
	answer := p.browser().send(method, p.url+path, nil, "Authorization", "Bearer "+token)
	return fmt.Sprintf("%d %s", answer.status, strings.TrimSpace(answer.body))
}

func (p page) has(text string) bool { return strings.Contains(p.body, text) }

// submit fills in the form whose action ends in a text, with pairs of name and
// value, and sends it.
func (p page) submit(action string, pairs ...string) page {
	p.b.t.Helper()
	to, values := p.form(action)
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return p.b.send("POST", to, values)
}

// form returns the address of a form, and its fields as they are.
func (p page) form(action string) (to string, values url.Values) {
	p.b.t.Helper()
	inside := false
	p.elements(func(e element, _ string) {
		if e.name == "form" {
			inside = to == "" && strings.HasSuffix(e.attributes["action"], action)
			if inside {
				address, err := p.at.Parse(e.attributes["action"])
				if err != nil {
					p.b.t.Fatal(err)
				}
				to, values = address.String(), url.Values{}
			}
		}
		chosen := e.attributes["type"] != "checkbox" && e.attributes["type"] != "radio" || e.attributes["checked"] != ""
		if inside && e.name == "input" && chosen {
			values.Add(e.attributes["name"], e.attributes["value"])
		}
	})
	if to == "" {
		p.b.t.Fatalf("no form to %q at %s (%d):\n%s", action, p.at, p.status, p.body)
	}
	return to, values
}

// text returns what stands first in the element with an id.
func (p page) text(id string) string {
	var found string
	p.elements(func(e element, text string) {
		if e.attributes["id"] == id {
			found = text
		}
	})
	return found
}

type element struct {
	name       string
	attributes map[string]string
}

// elements calls visit for each element, with the text that it begins with.
// The pages are well-formed XML as well: what is not closed ends the test.
func (p page) elements(visit func(e element, text string)) {
	p.b.t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(p.body))
	var last *element
	var text string
	for {
		token, err := decoder.Token()
		if err != nil && err != io.EOF {
			p.b.t.Fatalf("%s is not well-formed: %v\n%s", p.at, err, p.body)
		}
		if data, ok := token.(xml.CharData); ok {
			text += string(data)
			continue
		}
		if last != nil {
			visit(*last, text)
			last = nil
		}
		if err == io.EOF {
			return
		}
		text = ""
		if tag, ok := token.(xml.StartElement); ok {
			last = &element{tag.Name.Local, map[string]string{}}
			for _, a := range tag.Attr {
				last.attributes[a.Name.Local] = a.Value
			}
		}
	}
}
