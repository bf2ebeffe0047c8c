#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""version-host.py SOCKET: a host that speaks another version of proto/WIRE.md and says so to every guest."""
import os
import socket
import struct
import sys

HEADER = struct.Struct("<IHHQ")
HELLO, UNSUPPORTED = 1, 7

path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(64)
while True:
    guest, _ = listener.accept()
    with guest:
        size, kind, status, number = HEADER.unpack(guest.recv(HEADER.size, socket.MSG_WAITALL))
        guest.recv(size, socket.MSG_WAITALL)
        words = b"this host speaks version 2"
        guest.sendall(HEADER.pack(4 + len(words), HELLO, UNSUPPORTED, number) + bytes(4) + words)
