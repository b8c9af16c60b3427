"""What clients may send that isn't right, what uvicorn answers by itself, and what we answer.

An answer is written as in ``docs/connections.rst``, which is made from this table: the statuses, several joined by a
plus sign; then "closed" or "open" for the connection. The paths are those of ``SITE_URLS``.
"""

from dataclasses import dataclass

SITE_URLS = """
    from django.http import HttpResponse
    from django.urls import path

    def hello(request):
        return HttpResponse("Hello")

    def host(request):
        return HttpResponse(request.get_host())

    def echo(request):
        return HttpResponse(request.body)

    urlpatterns = [path("a", hello), path("host", host), path("echo", echo)]
"""

HOST = b"Host: 127.0.0.1"


def get(path: bytes, *headers: bytes, version: bytes = b"HTTP/1.1", host: bytes = HOST) -> bytes:
    lines = [b"GET " + path + b" " + version, *([host] if host else []), *headers]
    return b"\r\n".join([*lines, b"", b""])


def post(body: bytes, *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([b"POST /echo " + version, HOST, *headers, b"", body])


def chunked(body: bytes, *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return post(body, b"Transfer-Encoding: chunked", *headers, version=version)


@dataclass(frozen=True)
class Case:
    name: str
    sent: bytes
    uvicorn: str
    ours: str = ""  # where it differs
    ends: bool = False  # the client closes its side behind it


SMUGGLED = get(b"/a", b"X-Smuggled: 1")
LONG = b"Content-Length: %d" % (5 + len(SMUGGLED))
TE = b"Transfer-Encoding: "

CASES = [
    Case("a good request", get(b"/a"), "200 open"),
    Case("a line of garbage", b"GARBAGE\r\n\r\n", "400 closed"),
    Case("a method alone", b"GET\r\n\r\n", "400 closed"),
    Case("HTTP/9.9", get(b"/a", version=b"HTTP/9.9"), "400 closed"),
    Case("a TLS hello", bytes.fromhex("16030100c8010000c40303") + bytes(range(200)), "400 closed"),
    Case("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", "400 closed"),
    Case("lines that end in LF alone", b"GET /a HTTP/1.1\nHost: 127.0.0.1\n\n", "400 closed"),
    Case("HTTP/1.1 without Host", get(b"/a", host=b""), "200 open"),
    Case("two Host headers", get(b"/host", b"Host: evil.example"), "400 open"),
    Case("Host: evil.example", get(b"/host", host=b"Host: evil.example"), "400 open"),
    Case("Host: a b<>", get(b"/host", host=b"Host: a b<>"), "400 open"),
    Case("a URL with a foreign host", get(b"http://evil.example/host"), "200 open"),
    Case("a header of 66 KB", get(b"/a", b"X-Big: " + b"a" * 66000), "200 open", "431 closed"),
    Case(
        "300 headers of 400 B", get(b"/a", *(b"X-%d: " % i + b"b" * 400 for i in range(300))), "200 open", "431 closed"
    ),
    Case("a header of 1 MB", get(b"/a", b"X-Big: " + b"a" * 1_000_000), "200 open", "431 closed"),
    Case("a URL of 70 KB", get(b"/a?" + b"q" * 70000), "400 closed", "414 closed"),
    Case("a request line of 1 MB that doesn't end", b"GET /" + b"u" * 1_000_000, "no answer open", "414 closed"),
    Case("a space before the colon", get(b"/a", b"X-A : b"), "400 closed"),
    Case("a folded header", get(b"/a", b"X-A: b\r\n c"), "400 closed"),
    Case("NUL in a header", get(b"/a", b"X-A: b\0c"), "400 closed"),
    Case("CR in a header", get(b"/a", b"X-A: b\rc"), "400 closed"),
    Case("Content-Length and chunked", chunked(b"0\r\n\r\n" + SMUGGLED, b"Content-Length: 5"), "400 closed"),
    Case("the same, and longer", chunked(b"0\r\n\r\n" + SMUGGLED, LONG), "400 closed"),
    Case("two lengths", post(b"abcde", b"Content-Length: 0", b"Content-Length: 5"), "400 closed"),
    Case("Content-Length: -1", post(b"", b"Content-Length: -1"), "400 closed"),
    Case("Content-Length: +5", post(b"abcde", b"Content-Length: +5"), "400 closed"),
    Case("Content-Length: abc", post(b"abc", b"Content-Length: abc"), "400 closed"),
    Case("Content-Length: 5, 5", post(b"abcde", b"Content-Length: 5, 5"), "400 closed"),
    Case("Transfer-Encoding: xchunked", post(b"0\r\n\r\n" + SMUGGLED, TE + b"xchunked"), "400 closed"),
    Case("Transfer-Encoding: chunked, identity", post(b"0\r\n\r\n", TE + b"chunked, identity"), "400 closed"),
    Case("a space behind Transfer-Encoding", post(b"0\r\n\r\n", b"Transfer-Encoding : chunked", LONG), "400 closed"),
    Case("chunked in HTTP/1.0", chunked(b"0\r\n\r\n", version=b"HTTP/1.0"), "200 closed"),
    Case("a chunk of size ZZZ", chunked(b"ZZZ\r\nabc\r\n0\r\n\r\n"), "400 closed"),
    Case("a chunk of 2^68 bytes", chunked(b"F" * 17 + b"\r\nabc\r\n"), "400 closed"),
    Case("a chunk of size 0x5", chunked(b"0x5\r\nabcde\r\n0\r\n\r\n"), "400 closed"),
    Case("a chunk without CRLF behind it", chunked(b"3\r\nabcXX0\r\n\r\n"), "400 closed"),
    Case(
        "a chunk extension of 100 KB",
        chunked(b"3;" + b"e" * 100000 + b"\r\nabc\r\n0\r\n\r\n"),
        "200 open",
        "431 closed",
    ),
    Case("the bytes FF FE in a path", get(b"/\xff\xfe"), "400 closed"),
    Case("%ff%fe in a path", get(b"/%ff%fe"), "404 open"),
    Case("%00 in a path", get(b"/%00"), "404 open"),
    Case("a space in a path", get(b"/a b"), "400 closed"),
    Case("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n\r\n", "404 open"),
    Case("CONNECT", b"CONNECT evil:443 HTTP/1.1\r\n" + HOST + b"\r\n\r\n", "400 closed"),
    Case("the method get", b"get /a HTTP/1.1\r\n" + HOST + b"\r\n\r\n", "400 closed"),
    Case("HTTP/1.0 without Host", b"GET /a HTTP/1.0\r\n\r\n", "200 closed"),
    Case("two requests at once", get(b"/a") * 2, "200+200 open"),
    Case("a good request, then garbage", get(b"/a") + b"GARBAGE\r\n\r\n", "400 closed", "200+400 closed"),
    Case("Expect: 100-continue", post(b"abc", b"Content-Length: 3", b"Expect: 100-continue"), "100+200 open"),
    Case("a body that ends too early", post(b"ab", b"Content-Length: 10"), "no answer closed", ends=True),
    Case("5 MB where Django takes 2.5", post(b"x" * 5_000_000, b"Content-Length: 5000000"), "400 open"),
]
