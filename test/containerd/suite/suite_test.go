// SPDX-License-Identifier: Apache-2.0

// containerd's own test suite for snapshotters, run against a daemon: each test starts a cocoon-snapshotter of
// its own and talks to it as containerd does, through the proxy client.
package suite

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/pkg/dialer"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"github.com/containerd/containerd/snapshots/testsuite"
	"google.golang.org/grpc"
)

// The program under test, from suite.sh.
var program = os.Getenv("COCOON_SNAPSHOTTER")

func start(root string) (*exec.Cmd, string, error) {
	socket := filepath.Join(root, "s")
	config := filepath.Join(root, "config.yaml")
	yaml := fmt.Sprintf("chunks:\n  socket: %s\n", filepath.Join(root, "c"))
	if err := os.WriteFile(config, []byte(yaml), 0600); err != nil {
		return nil, "", err
	}
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		return nil, "", err
	}
	defer log.Close()
	cmd := exec.Command(program, "--config", config, "--address", socket, "--root", filepath.Join(root, "state"))
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	for i := 0; i < 500; i++ {
		if connection, err := net.Dial("unix", socket); err == nil { // it is bound before it listens
			connection.Close()
			return cmd, socket, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Kill()
	cmd.Wait()
	said, _ := os.ReadFile(log.Name())
	return nil, "", fmt.Errorf("%s does not start: %s", program, said)
}

// The daemon under one of its names.
func newSnapshotter(name, root string) (snapshots.Snapshotter, func() error, error) {
	cmd, socket, err := start(root)
	if err != nil {
		return nil, nil, err
	}
	conn, err := grpc.Dial(dialer.DialAddress(socket), grpc.WithInsecure(), grpc.WithContextDialer(dialer.ContextDialer))
	if err != nil {
		return nil, nil, err
	}
	stop := func() error {
		conn.Close()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return cmd.Wait() // an exit status other than 0 fails the test: sanitizers speak through it
	}
	return proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), name), stop, nil
}

func TestSnapshotter(t *testing.T) {
	if program == "" {
		t.Skip("COCOON_SNAPSHOTTER is not set")
	}
	// Each road by its name; images that are not sealed are the same to both.
	for _, name := range []string{"cocoon", "cocoon-kata"} {
		name := name // the suite's tests run when this loop has ended
		testsuite.SnapshotterSuite(t, name, func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
			return newSnapshotter(name, root)
		})
	}
}
