// SPDX-License-Identifier: Apache-2.0

// A stargz snapshotter for the benchmark. Debian ships stargz-snapshotter as a
// library and its client ctr-remote, but not the daemon that containerd talks
// to; this is that daemon and nothing more: the library's filesystem behind
// containerd's snapshot service on a unix socket, with the library's defaults.
//
// End it with SIGTERM. Its mounts are taken down when it ends, so a stopped
// daemon leaves a root directory that can simply be deleted.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/containerd/log"
	"github.com/containerd/containerd/reference"
	"github.com/containerd/containerd/remotes/docker"
	"github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/fs/layer"
	"github.com/containerd/stargz-snapshotter/fs/source"
	"github.com/containerd/stargz-snapshotter/snapshot"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

func main() {
	address := flag.String("address", "", "unix socket on which the snapshot service listens")
	root := flag.String("root", "", "directory for the cache and the snapshots")
	level := flag.String("log-level", "info", "logrus level")
	noPrefetch := flag.Bool("no-prefetch", false, "do not prefetch the files that `ctr-remote images optimize` marked")
	plainHTTP := flag.Bool("plain-http", false, "speak plain HTTP to every registry, not only to those on loopback")
	noBackground := flag.Bool("no-background-fetch", false, "do not fetch the rest of the image in the background")
	flag.Parse()

	if err := configureLog(*level); err != nil {
		fail(err)
	}
	if *address == "" || *root == "" || flag.NArg() != 0 {
		fail(fmt.Errorf("usage: stargz-daemon -address SOCKET -root DIR [-log-level L] [-plain-http] [-no-prefetch] [-no-background-fetch]"))
	}
	cfg := config.Config{
		NoPrefetch:           *noPrefetch,
		NoBackgroundFetch:    *noBackground,
		NoPrometheus:         true,
		DirectoryCacheConfig: config.DirectoryCacheConfig{Direct: true},
	}
	plain := docker.MatchLocalhost
	if *plainHTTP {
		plain = docker.MatchAllHosts
	}
	if err := serve(*address, *root, cfg, plain); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "stargz-daemon:", err)
	os.Exit(1)
}

func configureLog(level string) error {
	l, err := logrus.ParseLevel(level)
	if err != nil {
		return err
	}
	logrus.SetLevel(l)
	logrus.SetFormatter(&logrus.JSONFormatter{TimestampFormat: log.RFC3339NanoFixed})
	return nil
}

// serve answers containerd until a signal arrives, then unmounts everything.
func serve(address, root string, cfg config.Config, plain func(host string) (bool, error)) error {
	// The library tunes a retrying client where it finds one, and needs a
	// client with a transport of its own.
	client := retryablehttp.NewClient()
	client.Logger = nil
	registries := docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(plain), docker.WithClient(client.StandardClient()))
	filesystem, err := fs.NewFilesystem(filepath.Join(root, "stargz"), cfg,
		fs.WithOverlayOpaqueType(layer.OverlayOpaqueTrusted),
		fs.WithGetSources(source.FromDefaultLabels(func(ref reference.Spec) ([]docker.RegistryHost, error) {
			return registries(ref.Hostname())
		})))
	if err != nil {
		return fmt.Errorf("filesystem: %w", err)
	}
	sn, err := snapshot.NewSnapshotter(context.Background(), filepath.Join(root, "snapshotter"), filesystem,
		snapshot.AsynchronousRemove)
	if err != nil {
		return fmt.Errorf("snapshotter: %w", err)
	}
	defer sn.Close()

	// A socket left by a killed daemon would refuse the new listener.
	if err := os.Remove(address); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", address)
	if err != nil {
		return err
	}

	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(sn))

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	go func() {
		<-signals
		server.Stop()
	}()
	return server.Serve(listener)
}
