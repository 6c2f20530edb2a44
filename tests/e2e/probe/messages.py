# Requests as they came, over HTTP/1 and HTTP/2, whatever is wrong with them.
import re

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Head:
    """A request: its raw bytes, lines and body; over HTTP/2 its fields and what came behind them."""

    def __init__(self, raw, fields=None, body=b"", trailers=(), odd=False):
        self.raw, self.body, self.trailers, self.odd = raw, body, list(trailers), odd
        self.http2 = fields is not None
        head, _, behind = re.split(rb"(\r?\n\r?\n)", raw, maxsplit=1) if re.search(rb"\r?\n\r?\n", raw) else (raw, b"", b"")
        self.text = head.decode("latin-1")
        if self.http2:
            self.fields = fields
            self.pseudo = {name: value for name, value in reversed(fields) if name.startswith(":")}
            self.line = " ".join(self.pseudo.get(name, "") for name in (":method", ":path"))
        else:
            self.body = behind
            lines = self.text.split("\r\n")
            self.line = lines[0]
            self.fields = [tuple(part.strip(" \t") for part in line.partition(":")[::2]) for line in lines[1:]]
        words = self.line.split(" ")
        self.method, self.target = words[0], words[1] if len(words) > 1 else ""
        found = re.search(r"[?&](?:probe|canary)=([a-z0-9./-]+)", self.target)
        self.mark = found.group(1) if found else ""

    @classmethod
    def of(cls, raw):
        return cls(raw) if re.search(rb"\r?\n\r?\n", raw) else None

    def may_go_on(self):
        return any(self.all(name) for name in ("content-length", "transfer-encoding")) or "_" in self.text or self.body

    def all(self, name):
        return [value for own, value in self.fields if own.lower() == name]

    def one(self, name):
        return (self.all(name) or [""])[0]

    def dechunked(self):
        return b"".join(re.findall(rb"[0-9a-f]+\r\n((?:(?!\r\n).)*)\r\n", self.body, re.S))


class Frames:
    """Frames of a client, whose fields are literals."""

    def __init__(self):
        self.bytes, self.streams, self.blocks, self.odd = b"", {}, {}, False

    def push(self, piece):
        self.bytes += piece
        if self.bytes.startswith(PREFACE):
            self.bytes = self.bytes[len(PREFACE) :]
        while len(self.bytes) >= 9:
            length = int.from_bytes(self.bytes[:3], "big")
            if self.bytes.startswith(b"PRI") or len(self.bytes) < 9 + length:
                return
            kind, flags, number = self.bytes[3], self.bytes[4], int.from_bytes(self.bytes[5:9], "big")
            payload, self.bytes = self.bytes[9 : 9 + length], self.bytes[9 + length :]
            stream = self.streams.setdefault(number, [None, b"", []])
            self.odd |= number % 2 == 0 and kind in (0, 1) or kind == 9 or kind == 0 and stream[0] is None
            if kind in (1, 9):
                block = self.blocks.pop(number, b"") + payload
                if not flags & 4:
                    self.blocks[number] = block
                    self.odd = True
                    continue
                fields = literals(block)
                stream[0], stream[2] = (fields, []) if stream[0] is None else (stream[0], fields)
            elif kind == 0:
                stream[1] += payload
            if kind == 9 or kind in (0, 1) and (flags & 1 or (":method", "CONNECT") in (stream[0] or [])):
                yield number, Head(b"", stream[0] or [], stream[1], stream[2], self.odd)


def literals(block):
    def number():
        nonlocal block
        value, block = block[0] & 127, block[1:]
        shift = 0
        while value >= 127 and shift < 28:
            value, more, block = value + ((block[0] & 127) << shift), block[0] & 128, block[1:]
            shift += 7
            if not more:
                break
        return value

    fields = []
    while block:
        block = block[1:]
        pair = []
        for _ in range(2):
            if not block:
                return fields
            length = number()
            pair.append(block[:length].decode("latin-1"))
            block = block[length:]
        fields.append(tuple(pair))
    return fields


def frame(kind, flags, number, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + payload


def settings():
    return frame(4, 0, 0, b"")


def h2_answer(number, body, yes):
    status = b"\x88" if yes else b"\x48\x03403"
    return frame(1, 4, number, status) + frame(0, 1, number, body)


def h2_opened(number):
    return frame(1, 4, number, b"\x88")


def h2_ended(number):
    return frame(0, 1, number, b"over")
