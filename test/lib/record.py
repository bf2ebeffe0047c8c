#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sits between the two ends of a unix socket and keeps all that passes.

record.py LISTEN TARGET FILE    each direction of each connection in a file of its own: FILE.<n>.up, FILE.<n>.down
"""

import os
import socket
import sys
import threading


def pump(source, sink, log):
    try:
        while data := source.recv(1 << 16):
            log.write(data)
            sink.sendall(data)
    except OSError:
        pass
    # The end of one direction is the end of that direction only.
    for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        try:
            end.shutdown(how)
        except OSError:
            pass


def main():
    listen, target, path = sys.argv[1:]
    if os.path.exists(listen):
        os.unlink(listen)
    server = socket.socket(socket.AF_UNIX)
    server.bind(listen)
    server.listen(128)
    count = 0
    while True:
        client, _ = server.accept()
        upstream = socket.socket(socket.AF_UNIX)
        try:
            upstream.connect(target)
        except OSError as error:
            print(f"{target}: {error}", file=sys.stderr)
            client.close()
            continue
        # A file for each direction of each connection: interleaved, a secret
        # that came in two pieces could not be found again.
        for name, source, sink in (("up", client, upstream), ("down", upstream, client)):
            log = open(f"{path}.{count}.{name}", "ab", buffering=0)
            threading.Thread(target=pump, args=(source, sink, log), daemon=True).start()
        count += 1


if __name__ == "__main__":
    main()
