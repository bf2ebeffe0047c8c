// SPDX-License-Identifier: Apache-2.0

// The other end of test/interop/ocicrypt.sh: Debian's ocicrypt library as containers and CoCo use it.
//
//	ocicrypt wrap DIGEST KEY_HEX PUBLIC.pem…        one JWE for all recipients
//	ocicrypt wrap-oaep-256 DIGEST KEY_HEX PUBLIC.pem RSA-OAEP-256, which ocicrypt opens but does not write
//	ocicrypt unwrap PRIVATE.pem <annotation         digest and key in hex
package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containers/ocicrypt/blockcipher"
	"github.com/containers/ocicrypt/config"
	"github.com/containers/ocicrypt/keywrap/jwe"
	"github.com/containers/ocicrypt/utils"
	digest "github.com/opencontainers/go-digest"
	jose "gopkg.in/square/go-jose.v2"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func readFiles(paths []string) [][]byte {
	var all [][]byte
	for _, path := range paths {
		data, err := os.ReadFile(path)
		fail(err)
		all = append(all, data)
	}
	return all
}

func options(dgst, keyHex string) []byte {
	key, err := hex.DecodeString(keyHex)
	fail(err)
	text, err := json.Marshal(blockcipher.PrivateLayerBlockCipherOptions{
		SymmetricKey:  key,
		Digest:        digest.Digest(dgst),
		CipherOptions: map[string][]byte{},
	})
	fail(err)
	return text
}

func wrap(dgst, keyHex string, paths []string) string {
	cc, err := config.EncryptWithJwe(readFiles(paths))
	fail(err)
	wrapped, err := jwe.NewKeyWrapper().WrapKeys(cc.EncryptConfig, options(dgst, keyHex))
	fail(err)
	return base64.StdEncoding.EncodeToString(wrapped)
}

func wrapOaep256(dgst, keyHex, path string) string {
	key, err := utils.ParsePublicKey(readFiles([]string{path})[0], "test")
	fail(err)
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.RSA_OAEP_256, Key: key}, nil)
	fail(err)
	object, err := encrypter.Encrypt(options(dgst, keyHex))
	fail(err)
	return base64.StdEncoding.EncodeToString([]byte(object.FullSerialize()))
}

// unwrap goes the way of ocicrypt's own reader: each part of the annotation until one opens.
func unwrap(path, annotation string) string {
	cc, err := config.DecryptWithPrivKeys(readFiles([]string{path}), [][]byte{nil})
	fail(err)
	for _, part := range strings.Split(annotation, ",") {
		raw, err := base64.StdEncoding.DecodeString(part)
		fail(err)
		text, err := jwe.NewKeyWrapper().UnwrapKey(cc.DecryptConfig, raw)
		if err != nil {
			continue
		}
		var got blockcipher.PrivateLayerBlockCipherOptions
		fail(json.Unmarshal(text, &got))
		return string(got.Digest) + " " + hex.EncodeToString(got.SymmetricKey)
	}
	fail(fmt.Errorf("no part of the annotation opens with %s", path))
	return ""
}

func main() {
	switch {
	case len(os.Args) > 4 && os.Args[1] == "wrap":
		fmt.Println(wrap(os.Args[2], os.Args[3], os.Args[4:]))
	case len(os.Args) == 5 && os.Args[1] == "wrap-oaep-256":
		fmt.Println(wrapOaep256(os.Args[2], os.Args[3], os.Args[4]))
	case len(os.Args) == 3 && os.Args[1] == "unwrap":
		annotation, err := io.ReadAll(os.Stdin)
		fail(err)
		fmt.Println(unwrap(os.Args[2], strings.TrimSpace(string(annotation))))
	default:
		fail(fmt.Errorf("usage: wrap | wrap-oaep-256 | unwrap"))
	}
}
