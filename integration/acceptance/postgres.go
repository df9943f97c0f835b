package acceptance

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"trunkline/integration/harness"
)

// postgres is a PostgreSQL server of the machine's own binaries, empty.
type postgres struct {
	t    *testing.T
	bin  string
	addr string
	dir  string
	as   *syscall.Credential // nil is our own user
}

const (
	databaseName = "postgres"
	databaseUser = "trunkline"
)

// postgresBinaries is the folder of initdb and postgres; empty when there is none.
func postgresBinaries() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path)
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian keeps them off the PATH
	if err != nil || len(found) == 0 {
		return ""
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1])
}

func startPostgres(t *testing.T) *postgres {
	t.Helper()
	dir, err := os.MkdirTemp("", "trunkline-postgres-") //nolint:usetesting // those of the test are closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := &postgres{t: t, bin: postgresBinaries(), addr: harness.FreeAddr(t), dir: dir}
	if os.Getuid() == 0 {
		p.as = unprivileged(t)
		if err := os.Chown(dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	out, err := p.command("initdb", "-D", data, "-U", databaseUser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput()
	if err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	host, port := p.hostPort()
	server := harness.StartService(t, "postgres", p.command("postgres", "-D", data, "-h", host, "-p", port, "-k", dir, "-F"))
	t.Cleanup(func() { server.End(syscall.SIGQUIT) }) // its children end with it
	server.Until("PostgreSQL answers", func() bool {
		_, err := p.query("select 1")
		return err == nil
	})
	return p
}

// unprivileged is a user for PostgreSQL, which refuses to run as root.
func unprivileged(t *testing.T) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (p *postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), filepath.Join(p.bin, program), args...) //nolint:gosec // our own arguments
	cmd.Dir, cmd.SysProcAttr = p.dir, &syscall.SysProcAttr{Credential: p.as}
	return cmd
}

func (p *postgres) hostPort() (host, port string) {
	host, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	return host, port
}

// env tells a sink where the database is.
func (p *postgres) env() map[string]string {
	return map[string]string{
		"DATABASE": "jdbc:postgresql://" + p.addr + "/" + databaseName, "DATABASE_USER": databaseUser, "DATABASE_PASSWORD": "none is asked for",
	}
}

// query returns the lines of an answer of one column.
func (p *postgres) query(sql string) ([][]byte, error) {
	host, port := p.hostPort()
	cmd := p.command("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", port, "-U", databaseUser, "-d", databaseName, "-c", sql)
	cmd.Env = append(os.Environ(), "PGCLIENTENCODING=UTF8")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(said.String()))
	}
	var lines [][]byte
	scanner := bufio.NewScanner(bytes.NewReader(out))
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		lines = append(lines, bytes.Clone(scanner.Bytes()))
	}
	return lines, scanner.Err()
}
