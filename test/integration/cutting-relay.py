#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that breaks connections: the first CUTS that carry more than BYTES in the direction "up" (to the target) or
"down" (from it) end there; later ones live.

usage: cutting-relay.py LISTEN-PORT TARGET-HOST:PORT up|down CUTS BYTES"""
import asyncio
import sys

port, target, direction, cuts, limit = sys.argv[1:]
host, target_port = target.rsplit(":", 1)
cuts, limit = int(cuts), int(limit)


async def carry(reader, writer, bounded, cut):
    """Copy until the end; when `bounded`, break off after the limit while there are cuts left."""
    global cuts
    carried = 0
    try:
        while data := await reader.read(16384):
            carried += len(data)
            if bounded and carried > limit and cuts > 0:
                cuts -= 1
                cut()
                return
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        cut()


async def relay(client_reader, client_writer):
    target_reader, target_writer = await asyncio.open_connection(host, target_port)

    def cut():
        for writer in (client_writer, target_writer):
            writer.transport.abort()

    await asyncio.gather(
        carry(client_reader, target_writer, direction == "up", cut),
        carry(target_reader, client_writer, direction == "down", cut),
    )
    cut()


async def main():
    async with await asyncio.start_server(relay, "127.0.0.1", int(port)) as server:
        await server.serve_forever()


asyncio.run(main())
