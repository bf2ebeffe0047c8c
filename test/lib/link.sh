# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A network link of our own: a network namespace behind a pair of virtual
# interfaces, so that what a server in it sends is counted to the byte and can
# be slowed down to a given rate and delayed. To be sourced after cleanup.sh.
#
#   link_start [RATE]     RATE as tc(8) writes it (1gbit, 100mbit); without, unshaped
#     LINK_NETNS          start servers with nsenter --net=/run/netns/$LINK_NETNS
#     LINK_ADDRESS        the address that they listen on
#     LINK_DEVICE         our end
#   link_shape RATE [MS]  from now on; "" is unshaped. MS are added to the round trip, by link-delay.c
#   link_bytes            bytes received from there so far, headers included

link_start() {
	local rate=${1:-} net

	netns_add link || return
	LINK_NETNS=$STARTED_NETNS
	# Interface names have at most 15 bytes; the random end of $WORK tells ours apart.
	LINK_DEVICE=ck${WORK##*.}
	ip link add "$LINK_DEVICE" type veth peer name eth0 netns "$LINK_NETNS" || return
	at_exit link_stop "$LINK_DEVICE"

	# 198.18.0.0/15 is reserved for benchmarks; take a part of it that is not in use.
	for net in 198.18.{0..255}; do
		ip -4 address show | grep -qF " $net." || break
	done
	LINK_ADDRESS=$net.2
	ip address add "$net.1/24" dev "$LINK_DEVICE" &&
		ip link set "$LINK_DEVICE" up &&
		ip -n "$LINK_NETNS" address add "$LINK_ADDRESS/24" dev eth0 &&
		ip -n "$LINK_NETNS" link set eth0 up &&
		ip -n "$LINK_NETNS" link set lo up || return
	LINK_DELAY_PID=
	[ -z "$rate" ] || link_shape "$rate"
}

link_shape() {
	local rate=$1 delay=${2:-0} far=eth0 near=$LINK_DEVICE

	ip route delete "$LINK_ADDRESS/32" 2>/dev/null || true
	ip -n "$LINK_NETNS" route delete "${LINK_ADDRESS%.2}.1/32" 2>/dev/null || true
	tc -n "$LINK_NETNS" qdisc delete dev eth0 root 2>/dev/null || true
	tc qdisc delete dev "$LINK_DEVICE" root 2>/dev/null || true
	[ -z "$LINK_DELAY_PID" ] || stop_daemon "$LINK_DELAY_PID"
	LINK_DELAY_PID=
	if [ "$delay" != 0 ]; then
		far=eth1 near=${LINK_DEVICE}d
		link_delay "$near" "$far" $((delay * 500)) || return
	fi
	[ -n "$rate" ] || return 0
	# 100 ms of queue: enough for TCP to fill the link at every rate used here.
	tc -n "$LINK_NETNS" qdisc add dev "$far" root tbf rate "$rate" burst 256kb latency 100ms &&
		tc qdisc add dev "$near" root tbf rate "$rate" burst 256kb latency 100ms
}

# Packets take another road between the same two addresses.
link_delay() {
	local near=$1 far=$2 source i

	if [ ! -x "$WORK/link-delay" ]; then
		source=$(dirname "${BASH_SOURCE[0]}")/link-delay.c
		cc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$WORK/link-delay" "$source" || return
	fi
	start_daemon link-delay "$WORK/link-delay" "/run/netns/$LINK_NETNS" "$near" "$far" "$3"
	LINK_DELAY_PID=$STARTED_PID
	for ((i = 0; i < 100; i++)); do
		! ip -n "$LINK_NETNS" link set "$far" up 2>/dev/null || break
		sleep 0.02
	done
	ip link set "$near" up &&
		ip route add "$LINK_ADDRESS/32" dev "$near" src "${LINK_ADDRESS%.2}.1" &&
		ip -n "$LINK_NETNS" route add "${LINK_ADDRESS%.2}.1/32" dev "$far" src "$LINK_ADDRESS"
}

# The namespace's end vanishes with it.
link_stop() {
	ip link delete "$1"
}

link_bytes() {
	local file bytes sum=0

	for file in "/sys/class/net/$LINK_DEVICE"{,d}/statistics/rx_bytes; do
		{ read -r bytes <"$file"; } 2>/dev/null && sum=$((sum + bytes))
	done
	echo "$sum"
}
