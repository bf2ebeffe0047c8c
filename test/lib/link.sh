# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A network link of our own: a network namespace behind a pair of virtual
# interfaces, so that what a server in it sends is counted to the byte and can
# be slowed down to a given rate. To be sourced after cleanup.sh.
#
#   link_start [RATE]     RATE as tc(8) writes it (1gbit, 100mbit); without, unshaped
#     LINK_NETNS          start servers with nsenter --net=/run/netns/$LINK_NETNS
#     LINK_ADDRESS        the address that they listen on
#     LINK_DEVICE         our end
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
	if [ -n "$rate" ]; then
		# 100 ms of queue: enough for TCP to fill the link at every rate used here.
		tc -n "$LINK_NETNS" qdisc add dev eth0 root tbf rate "$rate" burst 256kb latency 100ms &&
			tc qdisc add dev "$LINK_DEVICE" root tbf rate "$rate" burst 256kb latency 100ms
	fi
}

# The namespace's end vanishes with it.
link_stop() {
	ip link delete "$1"
}

link_bytes() {
	cat "/sys/class/net/$LINK_DEVICE/statistics/rx_bytes"
}
