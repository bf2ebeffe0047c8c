# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# One line for each check of a script. To be sourced after cleanup.sh.
#
#   check NAME CMD…     runs CMD, which may be a function of this shell; prints ok or FAILED, the
#                       seconds and the last line of its output, of a failed one all that it wrote
#   checks_end          the script's last command: fails when a check has failed

CHECKS=0
CHECKS_FAILED=0

check() {
	local name=$1 log=$WORK/check.log status=0 start=$EPOCHREALTIME ms
	shift

	"$@" >"$log" 2>&1 || status=$?
	# EPOCHREALTIME always has six digits after the point.
	ms=$(((${EPOCHREALTIME/[.,]/} - ${start/[.,]/}) / 1000))
	CHECKS=$((CHECKS + 1))
	if [ "$status" = 0 ]; then
		printf 'ok      %-36s %4d.%d s  %s\n' "$name" $((ms / 1000)) $((ms % 1000 / 100)) "$(tail -n 1 "$log" | cut -c1-110)"
	else
		CHECKS_FAILED=$((CHECKS_FAILED + 1))
		printf 'FAILED  %-36s %4d.%d s  status %d\n' "$name" $((ms / 1000)) $((ms % 1000 / 100)) "$status"
		tail -n 40 "$log" | sed 's/^/        /'
	fi
	return "$status"
}

checks_end() {
	echo "$((CHECKS - CHECKS_FAILED)) checks passed, $CHECKS_FAILED failed"
	[ "$CHECKS_FAILED" = 0 ] && [ "$CHECKS" -gt 0 ]
}
