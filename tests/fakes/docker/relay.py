"""A port in, another port with so many bytes a second, on each connection, out: a registry that is far away."""

from __future__ import annotations

import asyncio
import sys

PIECE = 2**14


async def main(here: int, there: int, rate: int) -> None:
    """Relay until killed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", there)
        await asyncio.gather(copy(reader, ours, 0), copy(theirs, writer, rate))

    await (await asyncio.start_server(serve, "127.0.0.1", here)).serve_forever()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: int) -> None:
    """Copy to the end; a rate of 0 is as fast as it goes."""
    try:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(len(piece) / rate if rate else 0)
    except OSError:
        return
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:4])))
