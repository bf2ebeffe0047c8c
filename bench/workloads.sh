# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# What the containers of coldstart.sh run, and by which answer one knows that the program works. A program that
# serves listens on a socket below /answer, a directory of the host; the request goes there until it is answered.
#
#   WORKLOADS           all names; busybox, beside them, is for trying the scripts
#   workload NAME       sets
#     WORKLOAD_IMAGE    what test/images/make.py calls it
#     COMMAND           with absolute paths
#     ANSWER            the line that it prints, or a part of what it answers to
#     REQUEST           bytes as printf(1)'s %b writes them; empty: it prints
#     SOCKET            in /answer

WORKLOADS='python redis java nginx node postgres compiler tex'

workload() {
	WORKLOAD_IMAGE=$1 REQUEST='' SOCKET=socket
	case $1 in
	python)
		WORKLOAD_IMAGE=debian
		COMMAND=(/usr/bin/python3 -c 'import json, numpy; print(json.dumps({"sum": int(numpy.arange(1000).sum())}))')
		ANSWER='{"sum": 499500}'
		;;
	redis)
		COMMAND=(/usr/bin/redis-server --port 0 --unixsocket /answer/socket --unixsocketperm 777 --save '')
		REQUEST='SET a 42\r\nGET a\r\n'
		ANSWER=42
		;;
	java)
		COMMAND=(/usr/bin/java -jar /usr/share/java/js.jar -e 'var s = 0; for (var i = 1; i <= 1000; i++) s += i; print("sum " + s)')
		ANSWER='sum 500500'
		;;
	nginx)
		COMMAND=(/usr/sbin/nginx -c /etc/demo/nginx.conf -g 'daemon off;')
		REQUEST='GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n'
		ANSWER='Welcome to nginx!'
		;;
	node)
		COMMAND=(/usr/bin/node -e 'require("http").createServer((q, r) => r.end(JSON.stringify({path: q.url, sum: [1, 2, 3].reduce((a, b) => a + b)}))).listen("/answer/socket")')
		REQUEST='GET /a HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n'
		ANSWER='{"path":"/a","sum":6}'
		;;
	postgres)
		COMMAND=(/usr/bin/setpriv --reuid=postgres --regid=postgres --clear-groups /usr/lib/postgresql/15/bin/postgres
			-D /var/lib/postgresql/15/main -c config_file=/etc/postgresql/15/main/postgresql.conf
			-c hba_file=/etc/demo/pg_hba.conf -c ssl=off -c listen_addresses= -c unix_socket_directories=/answer)
		SOCKET=.s.PGSQL.5432
		# StartupMessage of version 3.0 for user and database postgres, then Query.
		REQUEST='\0000\0000\0000\0051\0000\0003\0000\0000user\0000postgres\0000database\0000postgres\0000\0000'
		REQUEST+='Q\0000\0000\0000\0060select sum(i) from generate_series(1,999) i\0000'
		ANSWER=499500
		;;
	compiler)
		COMMAND=(/bin/sh -c 'gcc -O2 -o /tmp/sum /etc/demo/sum.c -lm && /tmp/sum')
		ANSWER=21097.456
		;;
	tex)
		COMMAND=(/bin/sh -c 'cd /tmp && pdflatex -interaction=batchmode /etc/demo/page.tex >/dev/null && grep ^answer page.log')
		ANSWER='answer 42'
		;;
	busybox)
		COMMAND=(/bin/busybox sh -c 'echo "sum $((40 + 2))"')
		ANSWER='sum 42'
		;;
	*)
		echo "no such image: $1 (there are: $WORKLOADS)" >&2
		return 2
		;;
	esac
}
