"""Calls that wait, while the event loop waits with them: sleep, the network, other programs, files, mail, passwords."""

import ast
from typing import Any

from django_asgi_deploy.checks import backends, known, resolve
from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.events import Call
from django_asgi_deploy.checks.resolve import Names
from django_asgi_deploy.checks.scope import Problem, Scope, text_of
from django_asgi_deploy.checks.values import Bound, Known, Query, Record, Symbol, Value

HTTP = "an asynchronous client: async with httpx.AsyncClient() as client: await client.get(...)"
PROCESS = "await asyncio.create_subprocess_exec(...)"
THREAD = "await asyncio.to_thread({})"
SLEEP = "await asyncio.sleep({})"

STREAM = "await asyncio.open_connection(...)"
ITS_OWN = "the asynchronous client of the package"
ANY: frozenset[str] = frozenset()  # every public method


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HTTP_VERBS = _words("get post put patch delete head options request")
_HTTP_METHODS = _HTTP_VERBS | {"send", "stream"}
_HTTP_MODULES = ("requests", "httpx")
FUNCTIONS: dict[str, tuple[str, Level]] = {
    "time.sleep": (SLEEP, "error"),
    **{f"{module}.{verb}": (HTTP, "error") for module in _HTTP_MODULES for verb in _HTTP_VERBS},
    "httpx.stream": (HTTP, "error"),
    "urllib.request.urlopen": (HTTP, "error"),
    "urllib.request.urlretrieve": (HTTP, "error"),
    "urllib3.request": (HTTP, "error"),
    "socket.create_connection": ("await asyncio.open_connection(...)", "error"),
    "socket.getaddrinfo": ("await asyncio.get_running_loop().getaddrinfo(...)", "error"),
    "socket.gethostbyname": ("await asyncio.get_running_loop().getaddrinfo(...)", "error"),
    "socket.gethostbyaddr": ("await asyncio.get_running_loop().getnameinfo(...)", "error"),
    **{f"subprocess.{name}": (PROCESS, "error") for name in _words("run call check_call check_output getoutput")},
    "subprocess.getstatusoutput": (PROCESS, "error"),
    "os.system": ("await asyncio.create_subprocess_shell(...)", "error"),
    "os.popen": (PROCESS, "error"),
    "os.wait": (PROCESS, "error"),
    "os.waitpid": (PROCESS, "error"),
    "select.select": ("await what you wait for", "error"),
    "concurrent.futures.wait": ("await asyncio.gather(...) of asyncio.wrap_future(...)", "error"),
    "builtins.input": (THREAD, "error"),
    "builtins.open": (THREAD, "info"),
    "io.open": (THREAD, "info"),
    **{f"shutil.{name}": (THREAD, "warning") for name in _words("copytree rmtree make_archive unpack_archive")},
    **{f"shutil.{name}": (THREAD, "info") for name in _words("copy copy2 copyfile copyfileobj move")},
    "psycopg.connect": ("await psycopg.AsyncConnection.connect(...)", "error"),
    "psycopg2.connect": (THREAD, "error"),
    "sqlite3.connect": (THREAD, "warning"),
    "pymysql.connect": (THREAD, "error"),
    # Classes that connect when they are made with the name of a host.
    **{f"smtplib.{name}": (THREAD, "error") for name in _words("SMTP SMTP_SSL LMTP")},
    **{f"ftplib.{name}": (THREAD, "error") for name in _words("FTP FTP_TLS")},
    **{f"imaplib.{name}": (THREAD, "error") for name in _words("IMAP4 IMAP4_SSL")},
    **{f"poplib.{name}": (THREAD, "error") for name in _words("POP3 POP3_SSL")},
    "hashlib.pbkdf2_hmac": (THREAD, "warning"),
    "hashlib.scrypt": (THREAD, "warning"),
}
# Classes by full name: their methods that wait.
METHODS: tuple[tuple[tuple[str, ...], frozenset[str], str, Level], ...] = (
    (("requests.sessions.Session", "httpx.Client", "httpx._client.Client"), _HTTP_METHODS, HTTP, "error"),
    (
        ("urllib3.poolmanager.PoolManager", "urllib3.connectionpool.HTTPConnectionPool"),
        _words("request urlopen"),
        HTTP,
        "error",
    ),
    (("urllib.request.OpenerDirector",), _words("open"), HTTP, "error"),
    (("http.client.HTTPConnection",), _words("request getresponse connect"), HTTP, "error"),
    (("smtplib.SMTP",), _words("connect sendmail send_message login quit"), THREAD, "error"),
    (("ftplib.FTP",), _words("connect login storbinary retrbinary"), THREAD, "error"),
    (("subprocess.Popen",), _words("wait communicate"), PROCESS, "error"),
    (("socket.socket",), _words("connect recv send sendall accept"), STREAM, "error"),
    (("concurrent.futures._base.Future",), _words("result exception"), "await asyncio.wrap_future(future)", "error"),
    (("threading.Thread",), _words("join"), "await asyncio.to_thread(...) instead of the thread", "error"),
    (("threading.Event",), _words("wait"), "asyncio.Event", "error"),
    (("queue.Queue", "_queue.SimpleQueue"), _words("get join"), "asyncio.Queue", "error"),
    (("redis.client.Redis", "pymongo.collection.Collection", "botocore.client.BaseClient"), ANY, ITS_OWN, "error"),
    (
        ("pathlib.Path", "pathlib._local.Path"),
        _words("read_text read_bytes write_text write_bytes open"),
        THREAD,
        "info",
    ),
)
# Of clients all of whose methods count: those that talk to nobody.
ONLY_PREPARES = _words("pipeline lock pubsub register_script from_url get_paginator with_options")
# Names under which a class is imported, where its module isn't loaded.
SYMBOLS = {
    **{f"requests.{name}()": METHODS[0] for name in ("Session", "session")},
    "httpx.Client()": METHODS[0],
    "urllib3.PoolManager()": METHODS[1],
    "redis.Redis()": METHODS[12],
}
WAITS = "the event loop waits with it, and nobody else is served meanwhile"
_functions = Names(FUNCTIONS)


def blocking_function(event: Call, scope: Scope) -> Problem | None:
    name = _name(event.callee)
    if name is None or _is_instant(name, event):
        return None
    hint, level = FUNCTIONS[name]
    return _problem(scope, event.node, text_of(event.node), hint, level)


def _name(callee: Value) -> str | None:
    if isinstance(callee, Symbol):
        return callee.name if _functions.has_symbol(callee.name) else None
    return _functions.name_of(callee.object) if isinstance(callee, Known) else None


def _is_instant(name: str, event: Call) -> bool:
    if name.startswith(("smtplib.", "ftplib.")):
        return event.arguments.get(0, "host") is None and not (event.node.args or event.node.keywords)
    first = event.arguments.get(0, "secs")
    return name == "time.sleep" and isinstance(first, Known) and first.object == 0


def blocking_method(event: Call, scope: Scope) -> Problem | None:
    if isinstance(event.callee, Symbol):
        owner, _, name = event.callee.name.rpartition(".")
        row = SYMBOLS.get(owner)
        found = row if row and (not row[1] or name in row[1]) else None
    else:
        found = _row(event.callee)
    if found is None:
        return None
    _, _, hint, level = found
    return _problem(scope, event.node, text_of(event.node), hint, level)


def _row(callee: Value) -> Any:
    if not isinstance(callee, Bound):
        return None
    cls = known.type_of(callee.owner)
    if cls is None or callee.name in ONLY_PREPARES or resolve.is_a(cls, "redis.client.Pipeline"):
        return None
    for row in METHODS:
        names, methods, _, _ = row
        if (callee.name in methods or (not methods and not callee.name.startswith("_"))) and resolve.is_a(cls, *names):
            return row
    return None


def _problem(scope: Scope, node: ast.Call, text: str, hint: str, level: Level) -> Problem:
    function = text.removesuffix("()")
    arguments = ", ".join(ast.unparse(each) for each in node.args)
    inside = arguments if hint is SLEEP else f"{function}, {arguments}" if arguments else function
    typed = hint.format(inside if len(inside) <= 60 else f"{function}, ...")
    size = "for a moment: " if level == "info" else ""
    return scope.problem(node, 401, text, f"{size}{WAITS}", f"Use {typed}.", level)


# ------------------------------------------------------------------ what Django has twins for, or none


def mail(event: Call, scope: Scope) -> Problem | None:
    sends = (
        _mail_names.name_of(getattr(event.callee, "object", None))
        or _is_method(event, "send", "django.core.mail.message.EmailMessage")
        or _is_method(event, "send_messages", "django.core.mail.backends.base.BaseEmailBackend")
    )
    if not sends:
        return None
    level: Level = "info" if backends.mail() in backends.HARMLESS_MAIL else "warning"
    text = text_of(event.node)
    return scope.problem(
        event.node, 415, text, f"it talks to the mail server, and {WAITS}", _in_thread(event.node), level
    )


_mail_names = Names(
    f"django.core.mail.{name}" for name in ("send_mail", "send_mass_mail", "mail_admins", "mail_managers")
)


def storage(event: Call, scope: Scope) -> Problem | None:
    names = ("save", "open", "delete", "exists", "listdir", "size")
    owner = event.callee.owner if isinstance(event.callee, Bound) else None
    cls = known.type_of(owner)
    if cls is None or not isinstance(event.callee, Bound) or event.callee.name not in names:
        return None
    is_field = resolve.is_a(cls, "django.db.models.fields.files.FieldFile")
    if not is_field and not resolve.is_a(cls, "django.core.files.storage.base.Storage"):
        return None
    if is_field and event.callee.name not in ("save", "open", "delete"):
        return None
    harmless = resolve.is_a(backends.storage("default") if is_field else cls, *backends.HARMLESS_STORAGES)
    level: Level = "info" if harmless else "warning"
    text = text_of(event.node)
    return scope.problem(
        event.node, 415, text, f"the storage reads or writes, and {WAITS}", _in_thread(event.node), level
    )


CACHE_METHODS = _words(
    "get set add touch delete get_many set_many delete_many clear incr decr get_or_set has_key incr_version "
    "decr_version close"
)


def cache(event: Call, scope: Scope) -> Problem | None:
    if not isinstance(event.callee, Bound) or event.callee.name not in CACHE_METHODS:
        return None
    cls = known.type_of(event.callee.owner)
    if cls is None or not resolve.is_a(cls, "django.core.cache.backends.base.BaseCache"):
        return None
    text = text_of(event.node)
    hint = f"Type await {text[: -len(event.callee.name) - 2]}a{event.callee.name}(...)."
    if resolve.is_a(cls, "django.core.cache.backends.db.DatabaseCache"):
        scope.outcome.queries.append(text)
        then = "this cache is a table: Django raises SynchronousOnlyOperation, the client gets a 500"
        return scope.problem(event.node, 415, text, then, hint, "error")
    if resolve.is_a(cls, *backends.HARMLESS_CACHES):
        then = f"{cls.__name__} answers from memory; with a cache on the network the event loop would wait for it"
        return scope.problem(event.node, 415, text, then, hint, "info")
    return scope.problem(event.node, 415, text, f"it asks the cache, and {WAITS}", hint, "warning")


_hashing = Names(f"django.contrib.auth.{name}" for name in ("hashers.make_password", "hashers.check_password"))
_COSTS = "hashing a password takes most of a second of one processor, and nobody else is served meanwhile"


def password(event: Call, scope: Scope) -> Problem | None:
    name = (_hashing.name_of(getattr(event.callee, "object", None)) or "").rpartition(".")[2]
    if not name and isinstance(event.callee, Bound):
        owner = event.callee.owner
        cls = owner.model if isinstance(owner, Record) else None
        is_user = cls is not None and resolve.is_a(cls, "django.contrib.auth.base_user.AbstractBaseUser")
        name = event.callee.name if is_user and event.callee.name in ("set_password", "check_password") else ""
        if isinstance(owner, Query) and event.callee.name in ("acreate_user", "acreate_superuser"):
            return _acreate_user(event, scope, owner)
    if not name:
        return None
    level: Level = "info" if backends.hasher() in backends.QUICK_HASHERS else "warning"
    text = text_of(event.node)
    hint = _in_thread(event.node)
    if name == "check_password":
        hint = f"Type await {text.removesuffix('check_password()')}acheck_password(...)."
    return scope.problem(event.node, 415, text, _COSTS, hint, level)


def _acreate_user(event: Call, scope: Scope, owner: Query) -> Problem | None:
    function = resolve.plain_function(event.callee.function) if isinstance(event.callee, Bound) else None
    if function is None or function.__module__ != "django.contrib.auth.models":
        return None
    level: Level = "info" if backends.hasher() in backends.QUICK_HASHERS else "warning"
    text = text_of(event.node)
    hint = f"Use await sync_to_async({text.removesuffix('()').replace('.acreate', '.create')})(...)."
    return scope.problem(event.node, 415, text, f"Django hashes the password on the event loop: {_COSTS}", hint, level)


def _is_method(event: Call, name: str, *classes: str) -> bool:
    if not isinstance(event.callee, Bound) or event.callee.name != name:
        return False
    cls = known.type_of(event.callee.owner)
    return cls is not None and resolve.is_a(cls, *classes)


def _in_thread(node: ast.Call) -> str:
    return f"Use await sync_to_async({text_of(node).removesuffix('()')})(...)."


RULES = {Call: [blocking_function, blocking_method, mail, storage, cache, password]}
