"""Connections that do not say what they want, held against a real server."""

import asyncio
import time
from functools import partial

import uvicorn

from lesionforge.reader_study.web.connection import Connection

PATIENCE_S = 1  # uvicorn's shortest
REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def answering(scope, receive, send):
    """Answers after a moment, longer than clients may rest."""
    await asyncio.sleep(1.5 * PATIENCE_S)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def talk(port, said=(), pause_s=0.0):
    """Say things with pauses between them; what came back until the server closed, and after how long."""
    start = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def speak():
        for each in said:
            writer.write(each)
            await asyncio.sleep(pause_s)

    speaking = asyncio.create_task(speak())
    try:
        return await asyncio.wait_for(reader.read(), 30), time.monotonic() - start
    except ConnectionResetError:
        return b"", time.monotonic() - start
    finally:
        speaking.cancel()
        writer.close()


async def served(*talks):
    """The talks, all at once, with a server."""
    config = uvicorn.Config(
        answering, port=0, http=Connection, timeout_keep_alive=PATIENCE_S, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        return await asyncio.gather(*(each(port) for each in talks))
    finally:
        server.should_exit = True
        await running


def test_who_does_not_say_what_they_want_is_let_go_and_others_are_answered():
    slowly = [bytes([each]) for each in REQUEST[:-1]]
    silent, half, dropping, whole, again = asyncio.run(
        served(
            talk,
            partial(talk, said=[REQUEST[:20]]),
            partial(talk, said=slowly, pause_s=PATIENCE_S / 4),
            partial(talk, said=[REQUEST]),
            partial(talk, said=[REQUEST, REQUEST[:10]], pause_s=1.8 * PATIENCE_S),
        )
    )
    for found, seconds in (silent, half, dropping):
        assert found == b""
        assert seconds >= 0.9 * PATIENCE_S
    assert dropping[1] < len(slowly) * PATIENCE_S / 4  # drops buy no time
    for found, _ in (whole, again):  # the second of which begins another request, and leaves it at that
        assert found.endswith(b"\r\n\r\nok")
