"""JSON as etcd's gateway reads and writes it: protobuf's JSON mapping with the fields' own names,
64-bit numbers as text, bytes in base64."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
from google.protobuf import json_format

from actors.etcd.server._calls import SharedReply

__all__ = ["BadJson", "JsonStream", "decode_request", "encode_reply", "error_body"]


class BadJson(ValueError):
    """A body that is not JSON, or not the JSON of the message that was expected."""


def decode_request(body: bytes, message: Any) -> Any:
    """One request message; an empty body is one without fields. Raises `BadJson`."""
    if not body.strip():
        return message()
    try:
        return _to_message(orjson.loads(body), message)
    except orjson.JSONDecodeError as error:
        raise BadJson(f"invalid JSON: {error}") from None


def _to_message(value: Any, message: Any) -> Any:
    if not isinstance(value, dict):
        raise BadJson(f"a request is a JSON object, not {type(value).__name__}")
    try:
        return json_format.ParseDict(value, message())
    except json_format.ParseError as error:
        raise BadJson(str(error)) from None


def encode_reply(reply: Any, streamed: bool = False) -> bytes:
    """One reply message; in a stream it is wrapped as a `result`."""
    message = reply.message if isinstance(reply, SharedReply) else reply
    value = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return orjson.dumps({"result": value} if streamed else value)


def error_body(code: int, message: str) -> bytes:
    """A failure as the gateway reports it."""
    return orjson.dumps({"code": code, "message": message, "details": []})


class JsonStream:
    """JSON objects one after another in a body that comes in pieces."""

    def __init__(self) -> None:
        self._text = ""
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take more of the body; a character may be cut at the end."""
        data = self._rest + data
        try:
            self._text += data.decode()
            self._rest = b""
        except UnicodeDecodeError as error:
            self._text += data[: error.start].decode()
            self._rest = data[error.start :]

    def take(self, message: Any, final: bool) -> Iterator[Any]:
        """The complete objects as messages. Raises `BadJson` for what can be none; unfinished
        ones are kept, unless the body has ended."""
        decoder = json.JSONDecoder()
        while text := self._text.lstrip():
            self._text = text
            try:
                value, end = decoder.raw_decode(text)
            except json.JSONDecodeError as error:
                if final or text[0] != "{":
                    raise BadJson(f"invalid JSON: {error}") from None
                return
            self._text = text[end:]
            yield _to_message(value, message)
