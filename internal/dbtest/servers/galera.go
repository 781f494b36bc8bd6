//go:build linux

package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// StartGalera starts a cluster of MariaDB servers, each of which takes writes.
// Settings are as those of [StartMariaDB]. A node that is started again after
// Kill or Stop joins the others.
func StartGalera(t testing.TB, nodes int, settings ...string) []*Server {
	t.Helper()
	mariadbd := program(t, "/usr/sbin/mariadbd")
	provider := program(t, "/usr/lib/galera/libgalera_smm.so", "/usr/lib/*/galera/libgalera_smm.so")
	program(t, "/usr/bin/rsync") // copies the data to a node that has none
	first := newServer(t, "mysql")
	data := first.initMariaDB()

	ports := freePorts(t, 3*nodes) // of node i: for the cluster, for small and for whole copies of the data
	var peers []string
	for i := range nodes {
		peers = append(peers, address(ports[3*i]))
	}
	var all []*Server
	for i := range nodes {
		name := fmt.Sprint("node", i+1)
		s := &Server{
			t: t, dir: first.dir, name: name, account: first.account,
			driver: "mysql", ready: synced, stop: syscall.SIGTERM,
		}
		s.dsn = "root@unix(" + filepath.Join(s.dir, name+".socket") + ")/mysql"
		own := ports[3*i : 3*i+3]
		lines := append([]string{
			"[mariadbd]",
			"datadir=" + filepath.Join(s.dir, name),
			"tmpdir=" + filepath.Join(s.dir, name), // a server that starts removes the temporary tables of others
			"socket=" + filepath.Join(s.dir, name+".socket"),
			"pid-file=" + filepath.Join(s.dir, name+".pid"),
			"skip-networking", // of clients
			"skip-log-bin",
			"binlog_format=ROW",
			"innodb_autoinc_lock_mode=2",
			"innodb_buffer_pool_size=64M",
			"innodb_log_file_size=32M",
			"max_connections=300",
			"wsrep_on=ON",
			"wsrep_provider=" + provider,
			"wsrep_cluster_name=apikey",
			"wsrep_cluster_address=gcomm://" + strings.Join(peers, ","),
			"wsrep_node_name=" + name,
			"wsrep_node_address=" + address(own[0]),
			"wsrep_node_incoming_address=" + address(own[0]),
			"wsrep_sst_receive_address=" + address(own[2]),
			"wsrep_sst_method=rsync",
			"wsrep_slave_threads=2",
			// A node that is gone is given up after seconds.
			fmt.Sprintf(`wsrep_provider_options="base_port=%d;gmcast.listen_addr=tcp://%s;ist.recv_addr=%s;`+
				`gcache.size=32M;evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.5S;`+
				`evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;evs.install_timeout=PT4S;pc.recovery=true"`,
				own[0], address(own[0]), address(own[1])),
		}, settings...)
		config := filepath.Join(s.dir, name+".cnf")
		if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		s.command = func() []string {
			return append([]string{mariadbd, "--defaults-file=" + config}, s.position(mariadbd, config)...)
		}
		all = append(all, s)
	}

	// The first node makes the cluster, and the others begin as copies of it,
	// so that they need not copy the data over the network.
	join := all[0].command
	found := func() []string { return append(join(), "--wsrep-new-cluster") }
	if err := os.Rename(data, filepath.Join(first.dir, all[0].name)); err != nil {
		t.Fatal(err)
	}
	all[0].command = found
	all[0].Start()
	all[0].exec("CREATE DATABASE test")
	all[0].Stop()
	for _, s := range all[1:] {
		to := filepath.Join(s.dir, s.name)
		s.run("/bin/cp", "-a", filepath.Join(s.dir, all[0].name), to)
		s.run("/bin/sed", "-i", "s/^safe_to_bootstrap:.*/safe_to_bootstrap: 0/", filepath.Join(to, "grastate.dat"))
		s.run("/bin/rm", "-f", filepath.Join(to, "gvwstate.dat"))
	}
	all[0].Start()
	all[0].command = join
	for _, s := range all[1:] {
		s.launch()
	}
	for _, s := range all {
		s.await()
		s.dsn = strings.TrimSuffix(s.dsn, "mysql") + "test"
	}
	return all
}

// position returns the option that says where the data of a node which was
// killed ends. Without it the node would copy all data again.
func (s *Server) position(mariadbd, config string) []string {
	s.t.Helper()
	state, err := os.ReadFile(filepath.Join(s.dir, s.name, "grastate.dat"))
	if err != nil || !strings.Contains(string(state), "\nseqno:   -1") {
		return nil
	}
	recovery := filepath.Join(s.dir, s.name+".recovery")
	if err := os.RemoveAll(recovery); err != nil {
		s.t.Fatal(err)
	}
	s.run(mariadbd, "--defaults-file="+config, "--wsrep-recover", "--log-error="+recovery)
	said, err := os.ReadFile(recovery)
	if err != nil {
		s.t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(said), "Recovered position: ")
	if !ok {
		s.t.Fatalf("%s: no position was recovered:\n%s", s.name, said)
	}
	return []string{"--wsrep_start_position=" + strings.Fields(after)[0]}
}

// synced reports whether a node takes part in the cluster.
func synced(ctx context.Context, db *sql.DB) error {
	var name, value string
	if err := db.QueryRowContext(ctx, "SHOW STATUS LIKE 'wsrep_local_state_comment'").Scan(&name, &value); err != nil {
		return err
	}
	if value != "Synced" {
		return errors.New("the node is " + value)
	}
	return nil
}

func address(port int) string { return fmt.Sprint("127.0.0.1:", port) }

// freePorts returns ports of the loopback interface that nobody uses, nor is
// told to use by the system soon again.
func freePorts(t testing.TB, n int) (all []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().(*net.TCPAddr).Port)
	}
	return all
}
