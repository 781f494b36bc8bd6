package dbtest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// resetProxy stands in front of MariaDB and resets sessions under live
// connections, as a pooler does that gives a session to another client. It does
// so before commands outside of transactions, of which it counts those of all
// connections.
type resetProxy struct {
	server   string
	listener net.Listener
	group    sync.WaitGroup

	every    atomic.Int64 // reset before one of so many commands; 0: never
	commands atomic.Int64
	resets   atomic.Int64
}

// newResetProxy returns a proxy in front of a server, which ends with the test.
func newResetProxy(t *testing.T, server string) *resetProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &resetProxy{server: server, listener: listener}
	p.group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.group.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.group.Wait()
	})
	return p
}

func (p *resetProxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	var swallow atomic.Bool // the next packet of the server answers the proxy
	p.group.Go(func() {
		defer client.Close()
		from := bufio.NewReader(server)
		for {
			packet, err := readPacket(from)
			if err != nil {
				return
			}
			if swallow.Swap(false) {
				continue
			}
			if _, err := client.Write(packet); err != nil {
				return
			}
		}
	})
	inside := false // of a transaction
	from := bufio.NewReader(client)
	for {
		packet, err := readPacket(from)
		if err != nil {
			return
		}
		// The number of a command's first packet is 0; those of the login go on.
		if packet[3] == 0 && len(packet) > 4 {
			const closeStatement, quit = 0x19, 0x01
			text := string(packet[5:])
			inside = inside || strings.HasPrefix(text, "SET autocommit = 0") || strings.HasPrefix(text, "START TRANSACTION")
			if every := p.every.Load(); !inside && every > 0 && packet[4] != closeStatement && packet[4] != quit && p.commands.Add(1)%every == 0 {
				p.resets.Add(1)
				swallow.Store(true)
				if _, err := server.Write([]byte{1, 0, 0, 0, 0x1f}); err != nil { // COM_RESET_CONNECTION
					return
				}
			}
			inside = inside && !strings.HasPrefix(text, "SET autocommit = 1")
		}
		if _, err := server.Write(packet); err != nil {
			return
		}
	}
}

// readPacket returns a packet of MariaDB's protocol, with its header.
func readPacket(from *bufio.Reader) ([]byte, error) {
	header, err := from.Peek(4)
	if err != nil {
		return nil, err
	}
	packet := make([]byte, 4+int(header[0])+int(header[1])<<8+int(header[2])<<16)
	_, err = io.ReadFull(from, packet)
	return packet, err
}

// TestResetSessions lets a proxy reset the sessions of MariaDB between the calls
// of all operations, also between the preparing of a statement and its use.
func TestResetSessions(t *testing.T) {
	for _, e := range Modes(t) {
		if e.Dialect != sqlstore.MySQL {
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			d := e.Database(t)
			config, err := mysql.ParseDSN(d.DSN(t))
			if err != nil {
				t.Fatal(err)
			}
			proxy := newResetProxy(t, config.Addr)
			config.Addr = proxy.listener.Addr().String()
			connector, err := mysql.NewConnector(config)
			if err != nil {
				t.Fatal(err)
			}
			p := program{Dialect: e.Dialect.String(), Name: "one", Callers: 8, Calls: 2 * len(cycle)}
			if long {
				p.Calls *= 20
			}
			for _, every := range []int64{5, 7, 17} {
				proxy.every.Store(every)
				db := d.PoolOf(t, connector)
				if _, err := p.run(t.Context(), db, func() {}); err != nil {
					t.Errorf("a reset before one of %d commands: %v", every, err)
				}
				if err := sqlstore.New(db, e.Dialect, nil).Check(t.Context()); err != nil {
					var mode *sqlstore.SettingError // which Check may find, if it meets a reset
					if !errors.As(err, &mode) || mode.Setting != "statement mode of the driver" || strings.Contains(e.Name, "interpolate") {
						t.Error(err)
					}
				}
			}
			if proxy.resets.Load() < 100 {
				t.Errorf("only %d resets", proxy.resets.Load())
			}
			t.Logf("%d resets", proxy.resets.Load())
		})
	}
}

// TestResetUnderOneConnection is the smallest case: one connection, and its
// session is reset between two validations.
func TestResetUnderOneConnection(t *testing.T) {
	for _, e := range Modes(t) {
		if e.Dialect == sqlstore.SQLite {
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			d := e.Database(t)
			db := d.Pool(t)
			reset := func() { mustExec(t, db, "DEALLOCATE ALL") }
			if e.Dialect == sqlstore.MySQL {
				config, err := mysql.ParseDSN(d.DSN(t))
				if err != nil {
					t.Fatal(err)
				}
				proxy := newResetProxy(t, config.Addr)
				config.Addr = proxy.listener.Addr().String()
				connector, err := mysql.NewConnector(config)
				if err != nil {
					t.Fatal(err)
				}
				db = d.PoolOf(t, connector)
				reset = func() {
					proxy.every.Store(1)
					mustExec(t, db, "DO 0")
					proxy.every.Store(0)
				}
			}
			db.SetMaxOpenConns(1)
			m, err := apikey.New(sqlstore.New(db, e.Dialect, nil), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
			if err != nil {
				t.Fatal(err)
			}
			issued, err := m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: "one"})
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for range 50 {
				if _, lost := m.Validate(t.Context(), issued.Token.Reveal()); lost != nil {
					failed++
					err = lost
				}
				reset()
			}
			if failed > 0 {
				t.Errorf("%d of 50 validations failed: %v", failed, err)
			}
		})
	}
}
