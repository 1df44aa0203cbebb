"""A bare uvicorn application that decodes and encodes JSON: what a server does that bounds, logs and counts nothing."""

import json
import socket
import sys
from typing import Any

import msgspec
import uvicorn


async def _app(_: Any, receive: Any, send: Any) -> None:
    body = await receive()
    answer = msgspec.json.encode({"hello": msgspec.json.decode(body["body"])["credentialName"]})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    print(json.dumps({"event": "listening", "url": url}), file=sys.stderr, flush=True)
    config = uvicorn.Config(_app, loop="uvloop", http="httptools", access_log=False, lifespan="off", log_level="error")
    uvicorn.Server(config).run(sockets=[listener])
