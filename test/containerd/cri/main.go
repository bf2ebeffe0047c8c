// SPDX-License-Identifier: Apache-2.0

// cri calls containerd's CRI as a kubelet does. Debian has no Go package of Kubernetes' CRI messages, and the few fields that are needed
// here are encoded by hand; their numbers are those of k8s.io/cri-api/pkg/apis/runtime/v1/api.proto.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/containerd/containerd/pkg/dialer"
	"google.golang.org/grpc"
)

const usage = `usage: cri SOCKET METHOD ARGUMENT...
  PullImage|RemoveImage|ImageStatus IMAGE     tells how long the answer is
  RunPodSandbox NAME                          on the host's network; tells the pod's ID
  CreateContainer POD NAME IMAGE [uid=N] [gid=N] [user=NAME]     of /bin/tool; tells the container's ID
  StopPodSandbox|RemovePodSandbox|RemoveContainer ID`

// Bytes go through as they are.
type raw struct{}

func (raw) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string   { return "proto" }
func (raw) String() string { return "proto" }

func varint(n uint64) (out []byte) {
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

// A message or a text: the parts one after another.
func field(number byte, parts ...[]byte) []byte {
	value := []byte{}
	for _, part := range parts {
		value = append(value, part...)
	}
	return append(append([]byte{number<<3 | 2}, varint(uint64(len(value)))...), value...)
}

func text(number byte, value string) []byte { return field(number, []byte(value)) }

func number(number byte, value uint64) []byte { return append([]byte{number << 3}, varint(value)...) }

// PodSandboxConfig: metadata 1 {name 1, uid 2, namespace 3}, linux 8 {security_context 2 {namespace_options 1 {network 1: NODE = 2}}}
func podConfig(name string) []byte {
	metadata := field(1, text(1, name), text(2, name), text(3, "test"))
	return append(metadata, field(8, field(2, field(1, number(1, 2))))...)
}

// LinuxContainerSecurityContext: run_as_user 5 {value 1}, run_as_username 6, run_as_group 12 {value 1}
func securityContext(arguments []string) (out []byte) {
	for _, argument := range arguments {
		var id uint64
		if _, err := fmt.Sscanf(argument, "uid=%d", &id); err == nil {
			out = append(out, field(5, number(1, id))...)
		} else if _, err := fmt.Sscanf(argument, "gid=%d", &id); err == nil {
			out = append(out, field(12, number(1, id))...)
		} else if len(argument) > 5 && argument[:5] == "user=" {
			out = append(out, text(6, argument[5:])...)
		}
	}
	return out
}

// CreateContainerRequest: pod_sandbox_id 1, config 2 {metadata 1 {name 1}, image 2 {image 1}, command 3, linux 15
// {security_context 2}}, sandbox_config 3
func createContainer(pod, name, image string, arguments []string) []byte {
	config := field(2, field(1, text(1, name)), field(2, text(1, image)), text(3, "/bin/tool"), field(15, field(2, securityContext(arguments))))
	return append(append(text(1, pod), config...), field(3, podConfig(pod))...)
}

// The service's name, and the request.
func encode(method string, arguments []string) (string, []byte, bool) {
	switch {
	case len(arguments) == 1 && (method == "PullImage" || method == "RemoveImage" || method == "ImageStatus"):
		return "ImageService", field(1, text(1, arguments[0])), true
	case len(arguments) == 1 && method == "RunPodSandbox":
		return "RuntimeService", field(1, podConfig(arguments[0])), true
	case len(arguments) >= 3 && method == "CreateContainer":
		return "RuntimeService", createContainer(arguments[0], arguments[1], arguments[2], arguments[3:]), true
	case len(arguments) == 1 && (method == "StopPodSandbox" || method == "RemovePodSandbox" || method == "RemoveContainer"):
		return "RuntimeService", text(1, arguments[0]), true
	}
	return "", nil, false
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	service, request, ok := encode(os.Args[2], os.Args[3:])
	if !ok {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	conn, err := grpc.Dial(dialer.DialAddress(os.Args[1]), grpc.WithInsecure(), grpc.WithContextDialer(dialer.ContextDialer))
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		response := []byte{}
		err = conn.Invoke(ctx, "/runtime.v1."+service+"/"+os.Args[2], &request, &response, grpc.ForceCodec(raw{}))
		if os.Args[2] == "RunPodSandbox" || os.Args[2] == "CreateContainer" {
			if len(response) > 2 {
				fmt.Println(string(response[2:])) // field 1, the only one: an ID of less than 128 bytes
			}
		} else {
			fmt.Printf("%d bytes\n", len(response))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
