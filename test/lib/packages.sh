# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Which Debian packages each purpose needs, in one place, and a function that
# installs those that are missing. Nothing comes from anywhere but the
# machine's own apt sources. To be sourced.

declare -A PACKAGES

# Compiling the three programs.
PACKAGES[build]="gcc libc6-dev cmake ninja-build pkg-config
	protobuf-c-compiler libprotobuf-c-dev libprotobuf-dev libgrpc-dev
	libfuse3-dev libssl-dev libzstd-dev libcurl4-openssl-dev libsqlite3-dev
	libjansson-dev libisal-dev libcyaml-dev libyaml-dev libmicrohttpd-dev libsystemd-dev"

# Running an image from a registry through containerd, on sockets of our own.
PACKAGES[run]="ca-certificates containerd runc docker-registry skopeo fuse3 jq
	procps mount util-linux iproute2 curl openssl apache2-utils"

# Making images.
PACKAGES[image]="mmdebstrap umoci python3-minimal zstd busybox-static"

# Unit tests, fuzzing and the tools that tests compare with.
PACKAGES[test]="libcriterion-dev zlib1g-dev clang llvm libclang-rt-14-dev clang-format clang-tidy binutils
	golang-go golang-github-containers-ocicrypt-dev erofs-utils cryptsetup-bin attr acl libarchive-tools libcap2-bin umoci skopeo python3 strace zstd shellcheck
	python3-jsonschema python3-yaml systemd"

# Building and driving the peers that the benchmark compares with.
PACKAGES[peers]="golang-go golang-github-containerd-containerd-dev
	golang-github-containerd-stargz-snapshotter-dev golang-github-containers-ocicrypt-dev stargz-snapshotter socat pigz"

# Measuring them.
PACKAGES[bench]="time gcc libc6-dev curl python3"

# Booting virtual machines; their kernels are fetched by test/lib/vm.sh.
PACKAGES[vm]="qemu-system-x86 busybox-static cpio kmod xz-utils erofs-utils libgcc-s1"

# A fresh system has none of this, so nothing here may depend on it: only apt,
# dpkg and the shell.

# need_packages PURPOSE…: after it returns, the packages of these purposes are
# installed. Asks for root only when something is missing.
need_packages() {
	local purpose package missing=()

	for purpose; do
		[ -n "${PACKAGES[$purpose]:-}" ] || {
			echo "need_packages: no such purpose: $purpose" >&2
			return 2
		}
		for package in ${PACKAGES[$purpose]}; do
			[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
				missing+=("$package")
		done
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || {
		echo "need_packages: run as root, or install: ${missing[*]}" >&2
		return 1
	}
	echo "installing ${#missing[@]} packages: ${missing[*]}" >&2
	packages_install "${missing[@]}"
}

# In a subshell, so that the policy file is taken away whatever happens.
packages_install() (
	local policy=/usr/sbin/policy-rc.d log apt
	apt=(apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)

	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	# The daemons of these packages (containerd, docker-registry) are started by
	# our scripts, on sockets of their own; they are not to be started system-wide.
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$log" "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	trap 'exit 143' TERM
	trap 'exit 130' INT

	export DEBIAN_FRONTEND=noninteractive
	# Where the lists are missing or stale the first attempt fails, then one update helps.
	"${apt[@]}" install -y -q --no-install-recommends "$@" </dev/null >"$log" 2>&1 && return 0
	"${apt[@]}" update -q </dev/null >>"$log" 2>&1 &&
		"${apt[@]}" install -y -q --no-install-recommends "$@" </dev/null >>"$log" 2>&1 && return 0
	tail -n 40 "$log" >&2
	return 1
)
