"""Whether a view may be asked for with arguments, which otherwise a link in a mail or a button would bring.

A GET should be safe, and often isn't: ``/orders/5/cancel/``, ``/go/<int:pk>/`` that starts a job. So a route is left
out if its words say that something is done, or if what its code calls says so: mail, jobs, other programs, files,
other sites, logins. What is written into the database isn't looked for here: ``writes`` refuses that.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from types import FunctionType
from typing import Any

from django_asgi_deploy.checks import answers, functions
from django_asgi_deploy.exceptions import is_users

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
PARAMETER = re.compile(r"<(?:[^>:]*:)?([^>]*)>|\(\?P<(\w+)>")
# Words that say what is done to something, by their beginnings; with "!", the whole word. In the plural they name
# things (``/imports/5/``). A view that shows a form to edit something is safe, so "edit" and "update" aren't here.
WORDS = """
    abort accept ack! acknowledg activat add! apply! approv archive! assign backup ban! block! boost build! buy
    call! cancel captur charg checkin checkout claim clean clear clon close! complete confirm connect! copy! cron
    deactivat declin delet deploy destroy disabl disconnect dismiss dispatch donat downvot drop! duplicat empty!
    enabl enqueu erase execut expire! fav! favorit favourit finaliz finish flag! flush follow! force fork! generate!
    grant! hide! hijack hook! impersonat import increment invalidat invit join! kick kill launch leave! like! lock!
    login logmein logoff logout magic mark! merg migrat move! mute notif optin optout pause pay! paynow payment pin!
    ping! play! poll! process! promote! publish! purchas purg push queue! react! readall rebuild recalculat redeem
    refresh refund regenerat register! reindex reject release! remind remov renew reopen replay! reply! report!
    request! requeu rerun resend reserv reset resolve! restart restor resum resync retry return! revert revok
    rollback rotat run! save! schedul send! sendmail ship! signin signoff signout signup snooz spawn star! start!
    stop! submit subscrib suspend switch! sync! synchron take! terminat toggle track! transfer trash trigger
    unarchiv unassign unban unblock undo unfollow uninstall unlike unlink unlock unmute unpin unpublish unregister
    unstar unsubscrib upgrad upvot validat verif vote! webhook wipe withdraw
    abmeld apagar borrar desabonn desinscri elimin excluir kuendig loesch supprim usun verwijder
"""
DOES = re.compile("|".join(word.replace("!", "$") for word in WORDS.split()))
# Of values by which somebody proves to be who may do it.
SECRETS = re.compile(r"token|key|code|hash|secret|signature|signed|sig|otp|nonce|uidb|ticket|hmac|checksum")
# Names that are called, and what they are called on.
CALLED = re.compile(
    r"delay|apply_async|a?enqueue\w*|async_task|send_task|defer(_async)?|kiq|submit|call_command|a?log(in|out)|group_send|"
    r"a?delete(_\w+)?|unlink|rmtree|rmdir|touch|write_text|write_bytes|Popen|system|popen|spawn\w*|check_call|check_output|"
    r"create_subprocess_\w+|kill|Email\w*Message|email_user|mail_\w+|"
    r"(a|async_|do_|_)?(send|resend|notify|remind|invite|email|charge|refund|capture|pay|cancel|publish|unpublish|trigger|"
    r"revoke|purge|approve|reject|confirm|verify|redeem|subscribe|unsubscribe|destroy|wipe|deploy|restart|provision|"
    r"start|launch|stop|sync|import|execute|run|process|perform|generate|post|put|patch)(_\w+)?|"
    r"os\.(remove|rename|replace|mkdir|makedirs)|shutil\.\w+|(\w+\.)?cache\.a?clear|\w*storage\.save"
)
HARMLESS = re.compile(r"execute|run_sync|run_in_executor|run_in_threadpool|process_(time|request|template)\w*")
# A model's, which the database refuses; those of other libraries cost money.
CREATES = re.compile(r"(?!.*(objects|_set|manager)\b).*\.a?create")
WRITING_MODES = re.compile(r"[rb+t]*[wax][rb+t]*")
TASKS = ("celery", "huey", "dramatiq", "rq", "procrastinate", "taskiq")
OWN_METHODS = re.compile(  # of classes, those that a GET doesn't call
    r"post|put|patch|delete|form_(in)?valid|create|update|partial_update|destroy|perform_\w+|"
    r"disconnect|(on_)?receive\w*"
)
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
DEEPEST = 4


def only_shows(written: str, view: Any, *, allowed: frozenset[str] = frozenset()) -> bool:
    """``written``: the route with its name, as in ``/orders/<int:pk>/cancel/ order-cancel``.

    ``allowed``: names that may be called all the same.
    """
    spoken = f"{PARAMETER.sub(' ', written)} {getattr(view, '__qualname__', '')}"
    return not any(map(_is_action, _words(spoken))) and not any(
        _does(name) for name in _called_by(view) if name not in allowed
    )


def _is_action(word: str) -> bool:
    is_plural = word.endswith("s") and not word.endswith("ss")
    return not is_plural and DOES.match(word) is not None


def is_secret(name: str) -> bool:
    """Whether an argument of this name proves something: ``token``, ``activation_key``."""
    return any(SECRETS.fullmatch(word) for word in _words(name))


def _words(text: str) -> Iterator[str]:
    """The words of names, and each two that stand together: ``log-out`` is ``logout``, too."""
    for name in re.split(r"[\s/.<>]+", text):
        words = [word.lower() for word in WORD.findall(name)]
        yield from words
        yield from (f"{first}{second}" for first, second in pairwise(words))


# ------------------------------------------------------------------ code


def _does(name: str) -> bool:
    return name == "create!" or (CALLED.fullmatch(name) is not None and HARMLESS.fullmatch(name) is None)


def _called_by(view: Any) -> Iterator[str]:
    """The names that a view calls on GET, and the project's functions that it calls."""
    seen: set[int] = set()
    for function, cls in _functions_of(view):
        yield from _called_in(function, cls, seen, DEEPEST)


def _functions_of(view: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(view, FunctionType):
        yield view, None
        return
    cls = view if inspect.isclass(view) else type(view)
    for owner in cls.__mro__:
        for name, member in vars(owner).items():
            function = functions.function_of(member)
            if function and is_users(function.__code__.co_filename) and not OWN_METHODS.fullmatch(name):
                yield function, cls


def _called_in(function: Any, cls: Any, seen: set[int], depth: int) -> Iterator[str]:
    node = functions.node_of(function)
    if node is None or id(function.__code__) in seen:
        return
    seen.add(id(function.__code__))
    for call in _calls_on_get(node):
        named = call.func
        yield from _names_of(call)
        value = functions.value(function, named)
        if type(value).__module__.partition(".")[0] in TASKS:
            yield "delay"
        called = answers.own_method(call, cls) or functions.function_of(value)
        for each in (called, *_passed(function, call)):
            plain = functions.function_of(each)
            if plain:
                yield plain.__name__
                if depth and is_users(plain.__code__.co_filename):
                    yield from _called_in(plain, cls, seen, depth - 1)


def _names_of(call: ast.Call) -> Iterator[str]:
    """``rename``, and ``os.rename``; what opens a file to write it is called ``write_text``."""
    named = call.func
    if isinstance(named, ast.Attribute):
        yield named.attr
        dotted = ast.unparse(named)
        yield "create!" if CREATES.fullmatch(dotted) else ".".join(dotted.rsplit(".", 2)[-2:])
    elif isinstance(named, ast.Name):
        yield named.id
    given = (*call.args, *(keyword.value for keyword in call.keywords))
    modes = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    if ast.unparse(named).rpartition(".")[2] == "open" and any(WRITING_MODES.fullmatch(mode) for mode in modes):
        yield "write_text"


def _passed(function: Any, call: ast.Call) -> Iterator[Any]:
    """Functions that are arguments: of ``sync_to_async``, ``on_commit``, ``create_task``."""
    for argument in call.args:
        if isinstance(argument, ast.Name | ast.Attribute):
            yield functions.value(function, argument)


def _calls_on_get(node: ast.AST) -> Iterator[ast.Call]:
    """Without what stands below ``if request.method == "POST"``."""
    if isinstance(node, ast.Call):
        yield node
    skipped = node.body if isinstance(node, ast.If) and _asks_for_another_method(node.test) else []
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from _calls_on_get(child)


def _asks_for_another_method(test: ast.expr) -> bool:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(map(_asks_for_another_method, test.values))
    if not (isinstance(test, ast.Compare) and isinstance(test.left, ast.Attribute) and test.left.attr == "method"):
        return False
    right = test.comparators[0]
    texts = [each.value for each in ast.walk(right) if isinstance(each, ast.Constant)]
    return isinstance(test.ops[0], ast.Eq | ast.In) and bool(texts) and all(text in UNSAFE for text in texts)
