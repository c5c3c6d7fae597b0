"""Maps each status event to one JSON message."""

import json

from componentize_py_types import Err
from traced import traced
from wit_world import exports
from wit_world.imports.fault import MapError_Rejected
from wit_world.imports.message import Message
from wit_world.imports.status import Event, EventType

NAMES = {
    EventType.CONNECT: "connect",
    EventType.DISCONNECT: "disconnect",
    EventType.TCPCLEAN: "tcpclean",
}

region = "none"


class Lifecycle(exports.Lifecycle):
    @traced
    def init(self, config: str) -> None:
        global region
        settings = json.loads(config)
        unknown = set(settings) - {"region"}
        if unknown:
            raise Err(f"unknown configuration: {', '.join(sorted(unknown))}; there is: region")
        region = settings.get("region", region)


class StatusMapper(exports.StatusMapper):
    @traced
    def map_event(self, event: Event) -> list[Message]:
        if event.group_id == "":
            raise Err(MapError_Rejected("no group"))
        name = NAMES[event.event_type]
        body = {"id": event.client_id, "event": name, "at": event.time, "region": region}
        return [
            Message(
                tag=name,
                keys=[event.client_id, event.channel_id],
                properties=[],
                body=json.dumps(body, separators=(",", ":")).encode(),
                attributes=[],
            )
        ]
