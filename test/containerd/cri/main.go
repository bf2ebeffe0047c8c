// SPDX-License-Identifier: Apache-2.0

// cri pulls or removes an image as a kubelet does. Debian has no Go package of Kubernetes' CRI messages, and the three needed
// here are so small that they are encoded by hand:
//
//	PullImageRequest, RemoveImageRequest, ImageStatusRequest { ImageSpec image = 1; }    ImageSpec { string image = 1; }
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/containerd/containerd/pkg/dialer"
	"google.golang.org/grpc"
)

// Bytes go through as they are.
type raw struct{}

func (raw) Marshal(v interface{}) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v interface{}) error { *v.(*[]byte) = append([]byte(nil), data...); return nil }
func (raw) Name() string                               { return "proto" }
func (raw) String() string                             { return "proto" }

func field(number byte, value []byte) []byte {
	length := []byte{}
	for n := len(value); ; n >>= 7 {
		if n < 0x80 {
			length = append(length, byte(n))
			break
		}
		length = append(length, byte(n)|0x80)
	}
	return append(append([]byte{number<<3 | 2}, length...), value...)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: cri SOCKET PullImage|RemoveImage|ImageStatus REF")
		os.Exit(2)
	}
	conn, err := grpc.Dial(dialer.DialAddress(os.Args[1]), grpc.WithInsecure(), grpc.WithContextDialer(dialer.ContextDialer))
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		request, response := field(1, field(1, []byte(os.Args[3]))), []byte{}
		err = conn.Invoke(ctx, "/runtime.v1.ImageService/"+os.Args[2], &request, &response, grpc.ForceCodec(raw{}))
		fmt.Printf("%d bytes\n", len(response))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
