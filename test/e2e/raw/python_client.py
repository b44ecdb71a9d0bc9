"""A chat.v1 client in another language, written from docs/protocol.md alone: no SDK, no JavaScript.

Usage: python_client.py URL TOKEN. Prints one line per step; exits 1 with a traceback at the first surprise.
"""

import asyncio
import json
import sys

import websockets

URL, TOKEN = sys.argv[1], sys.argv[2]
ROOM = "python:room"


class Client:
    def __init__(self, socket):
        self.socket = socket
        self.waiting = []

    async def send(self, *frames):
        await self.socket.send(json.dumps(frames[0] if len(frames) == 1 else list(frames)))

    async def next(self):
        if not self.waiting:
            message = json.loads(await asyncio.wait_for(self.socket.recv(), 5))
            self.waiting = message if isinstance(message, list) else [message]
        return self.waiting.pop(0)

    async def expect(self, kind, **fields):
        frame = await self.next()
        assert frame["type"] == kind, f"wanted {kind}, got {frame}"
        for name, value in fields.items():
            assert frame.get(name) == value, f"wanted {name}={value!r}, got {frame}"
        return frame


def connect():
    return websockets.connect(URL, subprotocols=["chat.v1"], additional_headers={"Authorization": f"Bearer {TOKEN}"})


async def publish_and_receive():
    async with connect() as socket:
        assert socket.subprotocol == "chat.v1", socket.subprotocol
        client = Client(socket)
        info = await client.expect("server_info", user="python", tenant="default")
        assert info["maxFrame"] > 0 and info["heartbeat"] > 0, info
        await client.send({"type": "join", "room": ROOM, "id": "j1"})
        joined = await client.expect("joined", room=ROOM, id="j1", durable=True, recovered="fresh", replay=0)
        await client.send({"type": "pub", "room": ROOM, "msgId": "m1", "payload": {"text": "bonjour — ça va?"}})
        event = await client.expect("event", room=ROOM, payload={"text": "bonjour — ça va?"}, prev=joined["seq"])
        assert event["from"] == "python" and event["seq"] > event["prev"], event
        await client.expect("ack", msgId="m1", room=ROOM, seq=event["seq"], epoch=joined["epoch"])
        print("ok published and received")
        await client.send({"type": "pub", "room": ROOM, "msgId": "m1", "payload": "again"})
        await client.expect("ack", msgId="m1", seq=event["seq"], duplicate=True)
        print("ok a retried msgId is answered with the first seq")
        return {"epoch": joined["epoch"], "seq": event["seq"]}


async def publish_while_away(count):
    """Nobody is joined; the frames go as one batch."""
    async with connect() as socket:
        client = Client(socket)
        await client.expect("server_info")
        await client.send(*({"type": "pub", "room": ROOM, "msgId": f"a{n}", "payload": n} for n in range(count)))
        for n in range(count):
            await client.expect("ack", msgId=f"a{n}")


async def resume(position, count):
    async with connect() as socket:
        client = Client(socket)
        await client.expect("server_info")
        await client.send({"type": "join", "room": ROOM, "since": position})
        joined = await client.expect("joined", room=ROOM, recovered="full", replay=count, epoch=position["epoch"])
        last = position["seq"]
        for n in range(count):
            event = await client.expect("event", payload=n, prev=last)
            last = event["seq"]
        await client.expect("caught_up", room=ROOM, seq=joined["seq"])
        assert last == joined["seq"], (last, joined)
        print("ok resumed with nothing missing")
        await client.send({"type": "history", "room": ROOM, "id": 7, "limit": 2})
        page = await client.expect("history", room=ROOM, id=7, more=True)
        assert [event["payload"] for event in page["events"]] == [count - 2, count - 1], page
        print("ok history")
        await client.send({"type": "nonsense"})
        await client.expect("error", code="bad_type")
        await client.send({"type": "ping", "ts": 5})
        await client.expect("pong", ts=5)
        await client.send({"type": "leave", "room": ROOM, "id": "l1"})
        await client.expect("left", room=ROOM, id="l1")
        print("ok error, ping and leave")


async def refused():
    try:
        async with websockets.connect(URL, subprotocols=["chat.v1"]):
            raise AssertionError("connected without a token")
    except websockets.InvalidStatus as refusal:
        assert refusal.response.status_code == 401, refusal
        assert json.loads(refusal.response.body)["code"] == "unauthorized", refusal.response.body
    print("ok refused without a token")


async def main():
    position = await publish_and_receive()
    await publish_while_away(20)
    await resume(position, 20)
    await refused()
    print("done")


asyncio.run(main())
