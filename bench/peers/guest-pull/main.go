// SPDX-License-Identifier: Apache-2.0

// What a confidential pod does today, for the benchmark: pulls an encrypted image
// inside the machine, layer after layer, and unpacks it. A layer flows in one pass
// from the registry through its digest, ocicrypt's decryption (with its HMAC),
// decompression and the diff ID into the tree, so nothing is stored twice. The
// registry is reached over TCP or over a virtio socket.
//
//	guest-pull HOST:PORT|vsock:CID:PORT REPOSITORY:TAG PRIVATE-KEY DIRECTORY
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/containerd/containerd/archive"
	"github.com/containerd/containerd/archive/compression"
	"github.com/containers/ocicrypt"
	"github.com/containers/ocicrypt/config"
	"github.com/containers/ocicrypt/helpers"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// A virtio socket as net/http wants it.
type vsock struct{ *os.File }

func (vsock) LocalAddr() net.Addr  { return &net.UnixAddr{} }
func (vsock) RemoteAddr() net.Addr { return &net.UnixAddr{} }

func dial(address string) (net.Conn, error) {
	var cid, port uint32

	if !strings.HasPrefix(address, "vsock:") {
		return net.Dial("tcp", address)
	}
	if _, err := fmt.Sscanf(address, "vsock:%d:%d", &cid, &port); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrVM{CID: cid, Port: port}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return vsock{os.NewFile(uintptr(fd), "vsock")}, nil
}

type registry struct {
	client     *http.Client
	repository string
}

func (r *registry) get(path string) (io.ReadCloser, error) {
	request, err := http.NewRequest("GET", "http://registry/v2/"+r.repository+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", ocispec.MediaTypeImageManifest)
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return response.Body, nil
}

func (r *registry) getJSON(path string, to interface{}) error {
	body, err := r.get(path)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(to)
}

func verified(v digest.Verifier, what digest.Digest) error {
	if !v.Verified() {
		return fmt.Errorf("%s: the bytes are others", what)
	}
	return nil
}

func (r *registry) unpack(layer ocispec.Descriptor, diffID digest.Digest, key *config.DecryptConfig, root string) error {
	body, err := r.get("/blobs/" + layer.Digest.String())
	if err != nil {
		return err
	}
	defer body.Close()
	stored, plain := layer.Digest.Verifier(), diffID.Verifier()
	decrypted, _, err := ocicrypt.DecryptLayer(key, io.TeeReader(body, stored), layer, false)
	if err != nil {
		return err
	}
	tar, err := compression.DecompressStream(decrypted)
	if err != nil {
		return err
	}
	defer tar.Close()
	both := io.TeeReader(tar, plain)
	if _, err := archive.Apply(context.Background(), root, both); err != nil {
		return err
	}
	// What follows the archive's end, down to the HMAC.
	for _, rest := range []io.Reader{both, decrypted} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return err
		}
	}
	if err := verified(stored, layer.Digest); err != nil {
		return err
	}
	return verified(plain, diffID)
}

func run(address, image, key, root string) error {
	var manifest ocispec.Manifest
	var about ocispec.Image

	repository, tag, _ := strings.Cut(image, ":")
	r := &registry{repository: repository, client: &http.Client{
		Timeout: time.Hour,
		Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return dial(address)
		}},
	}}
	crypto, err := helpers.CreateDecryptCryptoConfig([]string{key}, nil)
	if err != nil {
		return err
	}
	if err := r.getJSON("/manifests/"+tag, &manifest); err != nil {
		return err
	}
	if err := r.getJSON("/blobs/"+manifest.Config.Digest.String(), &about); err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for i, layer := range manifest.Layers {
		if err := r.unpack(layer, about.RootFS.DiffIDs[i], crypto.DecryptConfig, root); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return nil
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: guest-pull HOST:PORT|vsock:CID:PORT REPOSITORY:TAG PRIVATE-KEY DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "guest-pull:", err)
		os.Exit(1)
	}
}
