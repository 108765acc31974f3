#!/usr/bin/env python3
"""Writes the fuzz targets' seed corpus, fuzz/corpus/<target>/: a few inputs of each kind that matters, for the fuzzer to
start from. What a run finds beyond them stays out of the repository."""

import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"
MASK = bytes([0xA1, 0x5C, 0x00, 0xFF])


def masked(first, payload, length=None):
    """A client's frame. `length` overrides the encoding of the payload's length."""
    if length is None:
        size = len(payload)
        if size <= 125:
            length = bytes([size])
        elif size <= 0xFFFF:
            length = b"\x7e" + struct.pack(">H", size)
        else:
            length = b"\x7f" + struct.pack(">Q", size)
    length = bytes([length[0] | 0x80]) + length[1:]
    return bytes([first]) + length + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


def frames():
    text = "a€𝄞".encode()
    close = struct.pack(">H", 1000)
    streams = {
        "text": masked(0x81, text),
        "binary": masked(0x82, bytes(range(20))),
        "empty": masked(0x81, b""),
        "text_126": masked(0x81, b"x" * 126),
        "text_65536": masked(0x81, b"x" * 65536),
        "ping": masked(0x89, b"p"),
        "pong": masked(0x8A, b""),
        "close": masked(0x88, close + b"bye"),
        "close_empty": masked(0x88, b""),
        "close_half": masked(0x88, b"\x03"),
        "close_1005": masked(0x88, struct.pack(">H", 1005)),
        "close_bad_reason": masked(0x88, close + b"\xff"),
        "fragments": masked(0x01, text[:2]) + masked(0x89, b"1") + masked(0x00, text[2:5]) + masked(0x80, text[5:]),
        "fragments_binary": masked(0x02, b"\0") + masked(0x8A, b"") + masked(0x80, b"\xff"),
        "cut_character": masked(0x01, text[:2]) + masked(0x80, b""),
        "bad_utf8": masked(0x81, b"a\xffb"),
        "surrogate": masked(0x81, b"\xed\xa0\x80"),
        "reserved_bit": b"\xc1\x80" + MASK,
        "reserved_opcode": b"\x83\x80" + MASK,
        "unmasked": b"\x81\x01a",
        "long_ping": masked(0x89, b"x" * 126),
        "fragmented_ping": masked(0x09, b""),
        "not_minimal_16": masked(0x81, b"x", b"\x7e\x00\x01"),
        "not_minimal_64": masked(0x81, b"x", b"\x7f" + struct.pack(">Q", 1)),
        "length_top_bit": masked(0x81, b"x", b"\x7f" + struct.pack(">Q", 1 << 63)),
        "too_big": masked(0x81, b"x", b"\x7f" + struct.pack(">Q", 1 << 40)),
        "continuation_of_nothing": masked(0x80, b""),
        "message_inside_message": masked(0x01, b"a") + masked(0x81, b"b"),
        "incomplete": masked(0x81, b"hello")[:8],
    }
    # The first two bytes are the size of the pieces less one, and the limit for messages in units of 16 bytes.
    return {name: bytes([index * 7 % 40, 255 if index % 4 else 2]) + stream for index, (name, stream) in enumerate(streams.items())}


def heads():
    lines = [
        "GET /ws HTTP/1.1",
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]

    def head(*more, line=lines[0], without=""):
        kept = [line] + [header for header in lines[1:] if not without or not header.startswith(without)]
        return ("\r\n".join([*kept, *more]) + "\r\n\r\n").encode()

    return {
        "plain": head(),
        "browser": head("Origin: http://example.com", "Connection: keep-alive", "Sec-WebSocket-Protocol: a, longwire.v1"),
        "proxied": head("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: [2001:db8::1]:443, 127.0.0.1"),
        "frame_behind": head() + masked(0x81, b"{}"),
        "query": head(line="GET /ws?a=b HTTP/1.1"),
        "absolute": head(line="GET http://h/ws HTTP/1.1"),
        "other_path": head(line="GET /ws/ HTTP/1.1"),
        "post": head("Content-Length: 2", line="POST /ws HTTP/1.1"),
        "head": head(line="HEAD /ws HTTP/1.1"),
        "head_after_empty_lines": b"\r\n\r\n" + head(line="HEAD / HTTP/1.1"),
        "http_1_0": head(line="GET /ws HTTP/1.0"),
        "http_2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "no_upgrade": head(without="Upgrade"),
        "no_host": head(without="Host"),
        "no_key": head(without="Sec-WebSocket-Key"),
        "two_keys": head("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        "other_version": head("Sec-WebSocket-Version: 8", without="Sec-WebSocket-Version"),
        "chunked": head("Transfer-Encoding: chunked"),
        "folded": head(" folded"),
        "bare_line_feed": head().replace(b"\r\n", b"\n"),
        "incomplete": head()[:60],
        "tls_hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "many_headers": head(*[f"X-{index}: y" for index in range(101)]),
        "long": head("X-Padding: " + "x" * 8192),
        "addresses": b"1.2.3.4, ::1, 1.2.3.4:5, [::1]:5, ::ffff:127.0.0.1",
    }


def messages():
    texts = [
        '{"path":"ping"}',
        '{"path": "order/create", "id": 7, "token": "a.b.c", "body": {"sku": ["a1", null, 1.5e3]}}',
        '{"path":"connect","token":"a.b.c","body":{"device":"phone","topics":["room.42"]}}',
        '{"path":"subscribe","id":"q","body":{"topics":["a","b.c"]}}',
        '{"path":"subscribe","id":1,"body":{"topics":["a..b",7]}}',
        '{"path":"p","id":-0,"token":null,"body":null}',
        '{"path":"p","id":null}',
        '{"path":"p","id":1.0}',
        '{"path":"p","id":123456789012345678901234567890}',
        '{"path":"p","id":"\\u00e9\\n\\ud834\\udd1e"}',
        '{"path":"p","id":"\\ud800"}',
        '{"path":"p","token":7}',
        '{"p\\u0061th":"a\\/b"}',
        '{"path":"a//b","id":3}',
        '{"path":""}',
        '{"path":7}',
        '{"path":"p","path":"q"}',
        '{"path":"p","else":1,"else":2}',
        '{"path":"p","body":' + "[" * 200 + "]" * 200 + "}",
        '["p",7,null,null]',
        "{}",
        "null",
        "{",
        "nonsense",
    ]
    return {f"{index:02}": text.encode() for index, text in enumerate(texts)}


def subjects():
    texts = [
        "", "user", "a.b@c", "a%2Eb%40c", "%2e", "%41", "%", "%2", "%FF", "%C3%A9", "é 𝄞", "room.42", "a..b", ".a",
        "order/create", "a//b", "order/*\norder/create", "order/*\norder", "*\nanything", "a*b\na*b", "exact\nexact", "\n",
        "x" * 256, "x" * 257,
    ]
    return {f"{index:02}": text.encode() for index, text in enumerate(texts)}


def configs():
    key = '[[auth.keys]]\nid = "k1"\nalgorithm = "HS256"\nsecret = "0123456789abcdef0123456789abcdef"\n'
    texts = [
        key,
        '[server]\nlisten = ["0.0.0.0:9040", "unix:/run/longwire/ws.sock"]\nnode = "n1"\nreactors = 2\n' + key,
        '[server]\norigins = ["https://example.com"]\ntrusted_proxies = ["127.0.0.0/8", "::1", "unix"]\n' + key,
        '[auth]\nuser_claim = "uid"\nleeway = "1m"\nrequire_exp = false\ndefault_topics = ["room.*"]\n' + key,
        '[sessions]\nper_user_max = 3\nwhen_full = "replace_oldest"\none_per_device = true\n' + key,
        '[timeouts]\nhandshake = "10s"\nconnect = "1h"\nping = "250ms"\npong = "10s"\n' + key,
        '[limits]\nmessage_bytes = "64KiB"\npush_bytes = 262144\noutbound_bytes = "1MiB"\nmessages_per_second = 5\n' + key,
        '[api]\nlisten = "127.0.0.1:9041"\nkeys = ["secret"]\n[log]\nlevel = "debug"\nformat = "json"\n' + key,
        '[nats]\nurl = ["nats://127.0.0.1:4222"]\nprefix = "longwire"\n' + key,
        key.replace("0123456789abcdef0123456789abcdef", "short"),
        key + key,
        key.replace("HS256", "none"),
        "[server]\nunknown = 1\n" + key,
        '[limits]\nmessage_bytes = -1\n[timeouts]\nping = "soon"\n' + key,
        "[server\n",
        "",
    ]
    return {f"{index:02}": text.encode() for index, text in enumerate(texts)}


SEEDS = {"frame_decode": frames, "handshake": heads, "message": messages, "subject": subjects, "config": configs}

for target, seeds in SEEDS.items():
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds().items():
        (folder / f"seed_{name}").write_bytes(data)
