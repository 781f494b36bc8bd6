package apikeyhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/apikey"
)

// rawClient is one connection after another.
type rawClient struct {
	target  *rawTarget
	conn    net.Conn
	address string // of the last conn
	raw     bytes.Buffer
	reader  *bufio.Reader // of conn; what it reads stands in raw
}

// rawResponse is a response without what net/http adds to it by the request:
// the version, Date and Connection.
type rawResponse struct {
	status int
	text   string
}

// exchange sends one input. One that plays with the framing is followed by a
// request that ends the connection, and all responses before its are returned:
// more than one are a sign of a smuggled request.
func (c *rawClient) exchange(route rawRoute, input hostileInput) (responses []rawResponse, err error) {
	if c.conn == nil {
		if c.conn, err = net.Dial("tcp", c.target.address); err != nil {
			return nil, err
		}
		c.address = c.conn.LocalAddr().String()
		c.raw.Reset()
		c.reader = bufio.NewReader(io.TeeReader(c.conn, &c.raw))
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	c.raw.Reset()
	// So that a server that does not answer is an error.
	c.conn.SetDeadline(time.Now().Add(time.Minute))
	request := input.request(route)
	if input.shape != nil {
		request += "GET /end HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
	}
	// net/http may refuse a request before it has read all of it, so that
	// what cannot be written is no error yet.
	_, writeErr := io.WriteString(c.conn, request)
	method := route.method
	for start := 0; ; {
		response, err := http.ReadResponse(c.reader, &http.Request{Method: method})
		if err != nil {
			return nil, fmt.Errorf("%w (after %d responses; %v)", err, len(responses), writeErr)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return nil, err
		}
		end := c.raw.Len() - c.reader.Buffered()
		if response.StatusCode != http.StatusNoContent { // of /end
			responses = append(responses, rawResponse{response.StatusCode, withoutHops(c.raw.String()[start:end])})
		}
		start, method = end, "GET"
		if response.Close {
			c.close()
		} else if input.shape != nil {
			continue
		} else if c.reader.Buffered() > 0 {
			return nil, fmt.Errorf("%d bytes after the response", c.reader.Buffered())
		}
		if len(responses) == 0 {
			return nil, fmt.Errorf("no response")
		}
		return responses, nil
	}
}

func (c *rawClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// seen returns what the last exchange was for the server.
func (c *rawClient) seen() rawSeen {
	c.target.mu.Lock()
	defer c.target.mu.Unlock()
	defer delete(c.target.seen, c.address)
	return c.target.seen[c.address]
}

// withoutHops leaves out of a response what belongs to the connection.
func withoutHops(raw string) string {
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	lines := slices.DeleteFunc(strings.Split(head, "\r\n"), func(line string) bool {
		return strings.HasPrefix(line, "Date: ") || strings.HasPrefix(line, "Connection: ")
	})
	_, lines[0], _ = strings.Cut(lines[0], " ")
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// rawLog is what a server logs: each record once, which loggers of the standard
// library hand over by one Write.
type rawLog struct {
	mu      sync.Mutex
	records map[string]bool
}

func (l *rawLog) Write(record []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.records == nil {
		l.records = map[string]bool{}
	}
	l.records[string(record)] = true
	return len(record), nil
}

// validated and observed log without any quoting, so that a line break in what
// they are told would show.
func (l *rawLog) validated(_ context.Context, o apikey.Observation) {
	fmt.Fprintf(l, "validated %s %s %s %v\n", o.AccessKey, o.KeyID, o.Owner, o.Err)
}

func (l *rawLog) observed(_ *http.Request, o apikey.Observation) {
	fmt.Fprintf(l, "observed %d %s %s %s %s %v %v %v\n", o.Status, o.Code, o.AccessKey, o.KeyID, o.Owner, o.Carrier, o.Client, o.Err)
}

// all returns the whole log.
func (l *rawLog) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(slices.Collect(maps.Keys(l.records)), "")
}

// problems returns what is wrong with the records, at most 20 things.
func (l *rawLog) problems() (problems []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == 0 {
		return []string{"no log"}
	}
	for record := range l.records {
		line, rest, _ := strings.Cut(record, "\n")
		switch {
		case rest != "" || !strings.HasSuffix(record, "\n") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }):
			problems = append(problems, fmt.Sprintf("a log record has more than one line, or control characters: %q", record))
		case strings.Contains(line, "panic"):
			problems = append(problems, fmt.Sprintf("logged: %q", record))
		}
		if len(problems) == 20 {
			break
		}
	}
	return problems
}

// withoutTime lets equal records be equal.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// rawCounts counts the inputs by carrier, class and route.
type rawCounts struct {
	mu        sync.Mutex
	distinct  map[[3]string]map[string]bool // what net/http parsed
	refused   map[[2]string]int             // by net/http itself, by carrier and class
	sent      int
	responses map[string]bool
}

func (c *rawCounts) add(carrier, route, class string, forms []string, response string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.distinct == nil {
		c.distinct, c.refused, c.responses = map[[3]string]map[string]bool{}, map[[2]string]int{}, map[string]bool{}
	}
	c.sent++
	c.responses[response] = true
	if len(forms) == 0 {
		c.refused[[2]string{carrier, class}]++
		return
	}
	// An input counts once for a route, whatever classes it is in.
	all, one := [3]string{carrier, "all", route}, [3]string{carrier, class, route}
	for _, at := range [][3]string{all, one} {
		if c.distinct[at] == nil {
			c.distinct[at] = map[string]bool{}
		}
	}
	if !c.distinct[all][forms[0]] {
		c.distinct[all][forms[0]], c.distinct[one][forms[0]] = true, true
	}
}

// all returns the responses.
func (c *rawCounts) all() string { return strings.Join(slices.Collect(maps.Keys(c.responses)), "\n") }

// check prints the table, with the least of all routes for each carrier and
// class, and fails if there are too few.
func (c *rawCounts) check(t *testing.T) {
	var carriers, classes []string
	least := map[[2]string]int{}
	for at, forms := range c.distinct {
		carriers, classes = append(carriers, at[0]), append(classes, at[1])
		cell := [2]string{at[0], at[1]}
		if n, ok := least[cell]; !ok || len(forms) < n {
			least[cell] = len(forms)
		}
	}
	slices.Sort(carriers)
	slices.Sort(classes)
	carriers, classes = slices.Compact(carriers), slices.Compact(classes)
	var table strings.Builder
	fmt.Fprintf(&table, "%d inputs to %d routes by %d carriers. Distinct after parsing, on the route with the fewest (+ refused by net/http, all routes):\n", c.sent, len(rawRoutes), len(carriers))
	fmt.Fprintf(&table, "%-28s", "")
	for _, carrier := range carriers {
		fmt.Fprintf(&table, "%16s", carrier)
	}
	for _, class := range classes {
		fmt.Fprintf(&table, "\n%-28s", class)
		for _, carrier := range carriers {
			cell := [2]string{carrier, class}
			n, ok := least[cell]
			text := "-"
			if ok {
				text = fmt.Sprint(n)
			}
			if refused := c.refused[cell]; refused > 0 {
				text += fmt.Sprintf(" (+%d)", refused)
			}
			fmt.Fprintf(&table, "%16s", text)
			if want := map[bool]int{true: 500, false: 20}[class == "all"]; ok && n < want {
				t.Errorf("%s, %s: %d inputs, want %d", carrier, class, n, want)
			}
		}
	}
	t.Log(table.String())
}
