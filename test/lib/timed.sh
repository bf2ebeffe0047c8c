# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# When a command prints its first lines. To be sourced after cleanup.sh.
#
#   timed_lines N SECONDS CMD…    runs CMD, which may be a function, and reads N lines of its output
#     LINE_TEXT[i]      the i-th line; missing when CMD ended or SECONDS went by before it
#     LINE_SECONDS[i]   when it came, since the start, with milliseconds
#   Returns 0 when all lines came. The command is left to run: it is ended with
#     timed_end [SECONDS]   waits for it, then ends it; returns its status

timed_lines() {
	local n=$1 limit=$2 start now i line
	shift 2

	LINE_TEXT=() LINE_SECONDS=()
	start=$EPOCHREALTIME
	exec {TIMED_FD}< <("$@")
	INTERRUPTIBLE_PID=$!
	for ((i = 0; i < n; i++)); do
		IFS= read -r -t "$limit" -u "$TIMED_FD" line || return 1
		now=$EPOCHREALTIME
		LINE_TEXT[i]=$line
		# EPOCHREALTIME always has six digits after the point.
		now=$((10#${now/[.,]/} - 10#${start/[.,]/}))
		printf -v "LINE_SECONDS[$i]" '%d.%03d' $((now / 1000000)) $((now / 1000 % 1000))
	done
}

timed_end() {
	local limit=${1:-0} status=0 i

	for ((i = 0; i < limit * 20; i++)); do
		process_runs "$INTERRUPTIBLE_PID" || break
		sleep 0.05
	done
	if process_runs "$INTERRUPTIBLE_PID"; then
		stop_tree "$INTERRUPTIBLE_PID"
		status=124
	else
		wait "$INTERRUPTIBLE_PID" || status=$?
	fi
	INTERRUPTIBLE_PID=
	exec {TIMED_FD}<&-
	return "$status"
}
