#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a server until it answers, and says when it did: connects every two milliseconds, sends, reads until
the answer holds the text, prints that text as a line.

ask.py SOCKET TEXT < REQUEST    prints "ready" first
"""

import socket
import sys
import time


def ask(path, request, text):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(path)
        s.sendall(request)
        answer = b""
        while text not in answer:
            more = s.recv(65536)
            if not more:
                raise ConnectionError("closed early")
            answer += more


def main():
    path, text = sys.argv[1:]
    request = sys.stdin.buffer.read()
    print("ready", flush=True)
    while True:
        try:
            ask(path, request, text.encode())
        except OSError:
            time.sleep(0.002)
            continue
        print(text, flush=True)
        return


if __name__ == "__main__":
    main()
