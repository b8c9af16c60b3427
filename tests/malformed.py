"""What clients send that they shouldn't, and what they get: parameters of a test, and tables in the documentation.

``scripts/reference.py`` renders the tables; ``tests/test_malformed.py`` sends every row to a real server.
"""

from dataclasses import dataclass

MAX_BODY_BYTES = 1000
LIVE_PATH = "/livez"
ALLOWED_HOSTS = ["example.com", ".example.org", "127.0.0.1", "[::1]"]
WEBSOCKET_ALLOWED_ORIGINS = ["https://app.example.net:8443"]


@dataclass(frozen=True)
class Row:
    """``title`` says in reStructuredText what is ``sent``; ``statuses`` are those of the answers, in order."""

    title: str
    sent: bytes
    statuses: tuple[int, ...]
    remark: str = ""

    @property
    def answer(self) -> str:
        answers = ", then ".join(f"``{status}``" for status in self.statuses) or "none; closed"
        return f"{answers}; {self.remark}" if self.remark else answers


def post(*headers: str | bytes, body: bytes = b"", path: str = "/") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: example.com", *headers]
    return b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\r\n\r\n" + body


def chunks(*sizes: int) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in sizes) + b"0\r\n\r\n"


FORM = "Content-Type: application/x-www-form-urlencoded"
CHUNKED = "Transfer-Encoding: chunked"

BODIES = [
    Row("As many bytes as are allowed", post("Content-Length: 1000", body=b"x" * 1000), (200,)),
    Row("``Content-Length`` of one more; nothing is read", post("Content-Length: 1001"), (413,), "closed"),
    Row("The same, and the body with it", post("Content-Length: 1001", body=b"x" * 1001), (413,), "closed"),
    Row(
        "The same, with ``Expect: 100-continue``",
        post("Content-Length: 1001", "Expect: 100-continue"),
        (413,),
        "no ``100``; closed",
    ),
    Row("Chunks, in sum as many as are allowed", post(CHUNKED, body=chunks(500, 500)), (200,)),
    Row("Chunks, in sum one more", post(CHUNKED, body=chunks(500, 501)), (413,), "closed"),
    Row("Chunks, of which the last never comes", post(CHUNKED, body=chunks(500)[:-5]), ()),
    Row("A chunk of ``zz`` bytes", post(CHUNKED, body=b"zz\r\n"), (400,), "closed"),
    Row(
        "A chunk of 16\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT ZERO} bytes",
        post(CHUNKED, body=b"1" + b"0" * 20 + b"\r\n"),
        (400,),
        "closed",
    ),
    Row("``Content-Length: abc``", post("Content-Length: abc"), (400,), "closed"),
    Row("``Content-Length: -1``", post("Content-Length: -1"), (400,), "closed"),
    Row("``Content-Length: +5``", post("Content-Length: +5", body=b"x" * 5), (400,), "closed"),
    Row("``Content-Length`` with 30 digits", post(f"Content-Length: {'9' * 30}"), (400,), "closed"),
    Row(
        "Two different ``Content-Length``",
        post("Content-Length: 5", "Content-Length: 6", body=b"x" * 6),
        (400,),
        "closed",
    ),
    Row("Fewer bytes than ``Content-Length`` says", post("Content-Length: 10", body=b"x" * 9), ()),
    Row(
        "A form that isn't UTF-8",
        post(FORM, "Content-Length: 4", body=b"a=\xff\xfe", path="/form"),
        (200,),
        "� in its place",
    ),
    Row(
        "A form that says it is ``utf-7``",
        post(f"{FORM}; charset=utf-7", "Content-Length: 3", body=b"a=b", path="/form"),
        (400,),
    ),
    Row(
        "A form with an unknown charset",
        post(f"{FORM}; charset=nonsense", "Content-Length: 3", body=b"a=b", path="/form"),
        (200,),
        "taken for UTF-8",
    ),
    Row(
        "``multipart/form-data`` without a boundary",
        post("Content-Type: multipart/form-data", "Content-Length: 3", body=b"a=b", path="/form"),
        (400,),
    ),
    Row(
        "``Content_Length``, with an underscore",
        post("Content_Length: 5000", "Content-Length: 1", body=b"x"),
        (200,),
        "another header",
    ),
    Row("2000 cookies", post("Cookie: " + "; ".join(f"c{n}=v" for n in range(2000)), "Content-Length: 0"), (200,)),
]


def get(path: str, *, method: str = "GET", host: str = "Host: example.com\r\n") -> bytes:
    return f"{method} {path} HTTP/1.1\r\n{host}\r\n".encode("latin-1")


HEALTH_PATHS = [
    Row("The path", get("/livez"), (200,)),
    Row("with a query", get("/livez?verbose=1"), (200,)),
    Row("percent-encoded, as in ``/%6Civez``", get("/%6Civez"), (200,)),
    Row("to a host that ``ALLOWED_HOSTS`` doesn't have", get("/livez", host="Host: 10.1.2.3:8000\r\n"), (200,)),
    Row("to a host that is none", get("/livez", host="Host: <script>\r\n"), (200,)),
    Row("with ``HEAD``", get("/livez", method="HEAD"), (200,), "no body"),
    Row("with ``POST``", get("/livez", method="POST"), (405,)),
    Row("with a slash behind it", get("/livez/"), (404,), "Django's"),
    Row("with a slash too many before it", get("//livez"), (404,), "Django's"),
    Row("in capitals", get("/LIVEZ"), (404,), "Django's"),
    Row("by a detour, as in ``/x/../livez``", get("/x/../livez"), (404,), "Django's"),
    Row("with a zero byte, as in ``/livez%00``", get("/livez%00"), (404,), "Django's"),
    Row("that isn't UTF-8, as in ``/livez%FF``", get("/livez%FF"), (404,), "Django's"),
]


def handshake(*origins: str | bytes) -> bytes:
    headers = [origin if isinstance(origin, bytes) else origin.encode() for origin in origins]
    lines = [
        b"GET /ws HTTP/1.1",
        b"Host: example.com",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *(b"Origin: " + header for header in headers),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def origin(text: str, status: int, remark: str = "") -> Row:
    return Row(f"``{text}``", handshake(text), (status,), remark)


ORIGINS = [
    Row("none", handshake(), (101,), "no page in a browser"),
    origin("http://example.com", 101),
    origin("https://example.com:8443", 101, "a host is allowed with every port"),
    origin("HTTPS://EXAMPLE.COM.", 101),
    origin("http://www.example.com", 403),
    origin("https://www.example.org", 101, "``.example.org``"),
    origin("https://example.org.evil.com", 403),
    origin("https://evil-example.org", 403),
    origin("http://[::1]:3000", 101),
    origin("http://[::2]:3000", 403),
    origin("http://[::1", 403),
    origin("http://127.0.0.1:5173", 101),
    origin("https://app.example.net:8443", 101),
    origin("https://app.example.net", 403, "another port"),
    origin("http://app.example.net:8443", 403, "another scheme"),
    origin("http://example.com:99999", 403, "no such port"),
    origin("http://example.com:", 101),
    origin("http://user@example.com", 403),
    origin("http://example.com/", 403, "an origin has no path"),
    origin("http://example.com evil.com", 403),
    origin("example.com", 403),
    origin("null", 403, "a sandboxed frame, or a file"),
    origin("file://", 403),
    Row("Bytes that aren't ASCII", handshake(b"http://ex\xffmple.com"), (403,)),
    Row("8000 bytes", handshake("http://" + "a" * 7993), (403,)),
    Row("Two, of which one is allowed", handshake("http://example.com", "http://evil.com"), (400,)),
]
