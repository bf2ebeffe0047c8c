# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A docker-registry of our own on a free port of 127.0.0.1, plain or with TLS
# and basic authentication, and pushing to it. To be sourced after cleanup.sh.
#
#   registry_start NAME [tls] [auth] [link]    everything it keeps is below $WORK/NAME
#     REGISTRY            127.0.0.1:PORT; with link, its address behind the link of link.sh
#     REGISTRY_DIR        $WORK/NAME; the blobs are in $REGISTRY_DIR/data
#     REGISTRY_LOG        one JSON object per line
#     REGISTRY_PID
#     REGISTRY_CA         with tls: the CA's certificate, PEM (else empty)
#     REGISTRY_USER, REGISTRY_PASSWORD, REGISTRY_AUTHFILE     with auth
#                         (a docker config.json; else empty)
#   These variables name the registry started last; copy them to have several.

registry_start() {
	local name=$1 option attempt ip=127.0.0.1 enter=()
	shift

	REGISTRY_DIR=$WORK/$name
	REGISTRY_LOG=$WORK/$name.log
	REGISTRY_CA='' REGISTRY_USER='' REGISTRY_PASSWORD='' REGISTRY_AUTHFILE=''
	mkdir -p "$REGISTRY_DIR/data" || return
	for option; do
		case $option in
		tls) registry_make_certificate && REGISTRY_CA=$REGISTRY_DIR/ca/ca.crt || return ;;
		auth) registry_make_user || return ;;
		link)
			ip=$LINK_ADDRESS
			enter=(nsenter "--net=/run/netns/$LINK_NETNS")
			;;
		*)
			echo "registry_start: unknown option $option" >&2
			return 2
			;;
		esac
	done

	# free_port can lose a race against another program; then try the next one.
	for attempt in 1 2 3 4 5; do
		REGISTRY=$ip:$(free_port)
		registry_config >"$REGISTRY_DIR/config.yml" || return
		start_daemon "$name" "${enter[@]}" docker-registry serve "$REGISTRY_DIR/config.yml"
		REGISTRY_PID=$STARTED_PID
		if wait_socket "$REGISTRY" 20 "$REGISTRY_PID"; then
			[ -z "$REGISTRY_USER" ] || registry_authfile
			return
		fi
		[ "$attempt" = 5 ] || echo "registry_start: trying another port" >&2
	done
	tail -n 5 "$REGISTRY_LOG" >&2
	return 1
}

registry_config() {
	cat <<-END
		version: 0.1
		log: { level: info, formatter: json, accesslog: { disabled: true } }
		storage:
		  filesystem: { rootdirectory: "$REGISTRY_DIR/data" }
		  delete: { enabled: true }
		  maintenance: { uploadpurging: { enabled: false } }
		http:
		  addr: "$REGISTRY"
		  secret: "$(basename "$WORK")"
	END
	if [ -n "$REGISTRY_CA" ]; then
		echo "  tls: { certificate: \"$REGISTRY_DIR/server.crt\", key: \"$REGISTRY_DIR/server.key\" }"
	fi
	if [ -n "$REGISTRY_USER" ]; then
		echo "auth: { htpasswd: { realm: test, path: \"$REGISTRY_DIR/htpasswd\" } }"
	fi
}

# The CA is alone in its directory: that is the form in which skopeo takes it.
registry_make_certificate() (
	umask 077
	cd "$REGISTRY_DIR" || return
	{
		mkdir -p ca &&
			openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
				-subj '/CN=test CA' -keyout ca.key -out ca/ca.crt &&
			openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
				-subj '/CN=127.0.0.1' -keyout server.key -out server.csr &&
			openssl x509 -req -in server.csr -CA ca/ca.crt -CAkey ca.key -CAcreateserial -days 30 \
				-extfile <(echo 'subjectAltName=IP:127.0.0.1,DNS:localhost') -out server.crt
	} >"$REGISTRY_DIR/openssl.log" 2>&1 || {
		cat "$REGISTRY_DIR/openssl.log" >&2
		return 1
	}
)

registry_make_user() {
	REGISTRY_USER=tester
	REGISTRY_PASSWORD=$(openssl rand -hex 12) || return
	htpasswd -iBn -C 5 "$REGISTRY_USER" <<<"$REGISTRY_PASSWORD" >"$REGISTRY_DIR/htpasswd"
}

registry_authfile() {
	REGISTRY_AUTHFILE=$REGISTRY_DIR/docker/config.json
	mkdir -p "$REGISTRY_DIR/docker" || return
	jq -n --arg host "$REGISTRY" --arg auth "$(printf '%s:%s' "$REGISTRY_USER" "$REGISTRY_PASSWORD" | base64 -w0)" \
		'{auths: {($host): {auth: $auth}}}' >"$REGISTRY_AUTHFILE"
}

# registry_push SOURCE REPO:TAG: SOURCE as skopeo writes it (oci:DIR:tag,
# docker://…). Manifests keep their digests.
registry_push() {
	local options=(--insecure-policy copy --quiet --preserve-digests)

	if [ -n "$REGISTRY_CA" ]; then
		options+=(--dest-cert-dir "$(dirname "$REGISTRY_CA")")
	else
		options+=(--dest-tls-verify=false)
	fi
	[ -z "$REGISTRY_AUTHFILE" ] || options+=(--dest-authfile "$REGISTRY_AUTHFILE")
	case $1 in
	docker://127.* | docker://localhost*) options+=(--src-tls-verify=false) ;;
	esac
	interruptible skopeo "${options[@]}" "$1" "docker://$REGISTRY/$2"
}

# registry_image_size REPO:TAG: the bytes of config and layers of one image, as
# the registry keeps them.
registry_image_size() {
	local options=(--insecure-policy inspect --raw)

	[ -z "$REGISTRY_CA" ] || options+=(--cert-dir "$(dirname "$REGISTRY_CA")")
	[ -n "$REGISTRY_CA" ] || options+=(--tls-verify=false)
	[ -z "$REGISTRY_AUTHFILE" ] || options+=(--authfile "$REGISTRY_AUTHFILE")
	skopeo "${options[@]}" "docker://$REGISTRY/$1" | jq '[.config.size, .layers[].size] | add'
}

# registry_traffic MARK, with MARK an earlier size of $REGISTRY_LOG: "BYTES
# REQUESTS" that the registry has answered since, bodies only. Requests that are
# still under way are not in it; link_bytes (link.sh) sees those too.
registry_traffic() {
	tail -c +"$(($1 + 1))" "$REGISTRY_LOG" |
		jq -rRn '[inputs | fromjson? | select(.msg == "response completed")]
			| "\(map(.["http.response.written"] // 0) | add // 0) \(length)"'
}
