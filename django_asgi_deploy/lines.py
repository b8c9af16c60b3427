"""What may stand in ACCESS_LOG: the fields of a line, and formats of them."""

import re

SHORT = '{client}:{port} - "{method} {path} {protocol}" {status} {reason}, {bytes} bytes in {duration_ms} ms'
TEXT = f'{SHORT}, waited {{wait_ms}} ms, "{{user_agent}}" {{request_id}} {{pid}}'

FIELDS = (
    "time",
    "client",
    "port",
    "method",
    "path",
    "protocol",
    "status",
    "reason",
    "bytes",
    "duration_ms",
    "wait_ms",
    "left",
    "host",
    "user_agent",
    "referer",
    "route",
    "request_id",
    "pid",
)

_FIELD = re.compile(r"\{(\w+)\}|\{\{|\}\}|[{}]")


def check_format(template: str) -> None:
    """Raises ValueError unless ``template`` consists of text and fields that there are."""
    found = [*_FIELD.finditer(template)]
    for match in found:
        if match[0] in "{}":
            raise ValueError(f"a single {match[0]} at character {match.start() + 1}; write it twice to mean itself")
        if match[1] and match[1] not in FIELDS:
            raise ValueError(f"there is no field {match[0]}; expected {', '.join(f'{{{name}}}' for name in FIELDS)}")
    if not any(match[1] for match in found):
        raise ValueError('expected auto, text, json, off, or a format such as "{path} {status}"')
