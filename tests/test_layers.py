"""The walls of the design: who may import whom."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "django_asgi_deploy"
NAME = PACKAGE.name

# A file imports only what has a lower number; files of one level don't import each other.
LEVELS = {
    "exceptions": 0,
    "types": 0,
    "shutdown": 0,
    "addresses": 0,
    "options": 0,
    "origins": 0,
    "prefixes": 0,
    "signals": 0,
    "proxies": 0,
    "lines": 0,
    "collected": 1,
    "logging": 1,
    "importer": 1,
    "database": 1,
    "handlers.pool": 1,
    "handlers.private": 1,
    "handlers.watch": 1,
    "handlers.views": 2,
    "handlers.rules": 2,
    "handlers.affinity": 2,
    "handlers.chains": 3,
    "handlers.body": 1,
    "handlers.exchange": 3,
    "handlers.asgi": 3.5,
    "applications": 2,
    "layers.lifespan": 2,
    "layers.health": 1,
    "layers.limits": 1,
    "layers.forward": 1,
    "layers.mount": 2,
    "layers.wrap": 1,
    "layers.static": 1,
    "layers.websocket": 1,
    "layers.proxy": 1,
    "layers.route": 0.5,
    "layers.logwriter": 1,
    "layers.observe": 2,
    "layers.accesslog": 3,
    "layers.metrics": 3,
    "conf": 2,
    "readiness": 3,
    "asgi": 4,
    "project": 5,
    "server.systemd": 0.5,
    "server.backlog": 0,
    "server.unlink": 0,
    "server.clock": 0,
    "server.backoff": 0,
    "server.cpus": 1,
    "server.balance": 1,
    "server.tls": 1,
    "server.deadlines": 1,
    "server.refusal": 1,
    "server.private": 1,
    "server.listener": 2,
    "server.limited": 2,
    "server.protocol_h11": 2.1,
    "server.protocol": 2.2,
    "server.listening": 3.5,
    "server.owner": 1,
    "server.multiprocess": 1,
    "server.sockets": 2,
    "server.channel": 1,
    "server.processes": 1,
    "server.plan": 1,
    "server.pidfile": 1,
    "server.signals": 1,
    "server.lines": 1,
    "server.title": 1,
    "server.children": 2,
    "server.orphans": 2,
    "server.tie": 2,
    "server.generation": 2,
    "server.warmup": 2,
    "server.logs": 2,
    "server.writes": 2,
    "server.config": 3,
    "server.handover": 3,
    "server.become": 4,
    "server.worker": 4,
    "server.thread": 5,
    "server.supervisor": 5,
    "server.supervise": 6,
    "server.run": 7,
    "checks.catalogue": 0,
    "checks.pages": 1,
    "checks.parts": 1,
    "checks.tables": 0,
    "server.changes": 1,
    "server.reloaded": 2,
    "server.reload": 7.5,
    "checks.frames": 1,
    "checks.finding": 2,
    "checks.guard": 3,
    "checks.findings": 4,
    "checks.ignores": 3,
    "checks.djangos": 3,
    "checks.databases": 1,
    "checks.waiting": 1,
    "checks.probe": 3,
    "checks.stalls": 2,
    "checks.faults": 4,
    "checks.hops": 4,
    "checks.middleware": 5,
    "checks.functions": 2,
    "checks.wrapped": 3,
    "checks.predicted": 5.1,
    "checks.modes": 6,
    "checks.costs": 6.1,
    "checks.middleware_code": 6.1,
    "checks.answers": 2.1,
    "checks.routes": 6,
    "checks.views": 6.1,
    "checks.classes": 6.2,
    "checks.dispatch": 6.2,
    "checks.overrides": 6.2,
    "checks.rest_framework": 6.2,
    "checks.called": 6.2,
    "checks.twins": 6,
    "checks.inspected": 5.5,
    "checks.probed": 5.5,
    "checks.settings_source": 5,
    "checks.sources": 2,
    "checks.entry_import": 3,
    "checks.entry": 6,
    "checks.deployment_files": 2,
    "checks.uvicorn_calls": 3,
    "checks.deployment": 6,
    "checks.channels": 6,
    "checks.server": 6.2,
    "checks.settings_databases": 6,
    "checks.async_cache": 3,
    "checks.settings_services": 6,
    "checks.settings_logging": 6,
    "checks.settings_http": 6,
    "checks.values": 1,
    "checks.resolve": 1,
    "checks.definitions": 2,
    "checks.backends": 2,
    "checks.events": 2,
    "checks.loop_code": 3,
    "checks.scope": 4,
    "checks.ways": 4.1,
    "checks.conditions": 4.1,
    "checks.others": 4.1,
    "checks.orm": 4.1,
    "checks.records": 4.2,
    "checks.known": 4.2,
    "checks.known_django": 4.3,
    "checks.known_channels": 4.3,
    "checks.known_iterables": 4.35,
    "checks.live": 4.3,
    "checks.calls": 4.4,
    "checks.expressions": 4.5,
    "checks.statements": 4.6,
    "checks.parameters": 4.7,
    "checks.infer": 4.8,
    "checks.source_blocking": 5,
    "checks.source_orm": 5,
    "checks.source_auth": 5,
    "checks.source_tasks": 5,
    "checks.source_streams": 5,
    "checks.source": 6.1,
    "checks.run": 6.5,
    "checks.handshake": 4,
    "checks.driver": 5,
    "checks.leaks": 2,
    "checks.visitors": 1,
    "checks.blocking": 4,
    "checks.trials": 6,
    "checks.prober": 6.5,
    "checks.harmless": 3,
    "checks.writes": 1,
    "checks.arguments": 6,
    "checks.websockets": 6.1,
    "checks.handshakes": 6.2,
    "checks.probing": 6.6,
    "checks.report": 6.6,
    "checks.probe_text": 6.6,
    "checks.text": 6.7,
    "checks.startup": 7,
    "checks.registration": 7,
    "deployment.convert": 0,
    "deployment.render": 5,
    "deployment.systemd": 6,
    "deployment.asgi_module": 6,
    "apps": 8,
    "management.commands.runasgi": 8,
    "management.commands.checkasgi": 8,
    "management.commands.makeasgi": 8,
    "__main__": 8,
    "test": 8,
    "pytest_plugin": 9,
}
WITHOUT_DJANGO = re.compile(
    r"exceptions|types|shutdown|addresses|origins|prefixes|proxies|lines|logging|layers\.(wrap|mount|forward|websocket|limits|proxy|observe|accesslog)|deployment\.convert|server\.(channel|processes|plan|pidfile|signals|lines|title|children|orphans|handover|become|supervisor|supervise|systemd|sockets|owner|backlog|unlink)"
)


MODULES = [
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.name != "__init__.py"
]


def imports(module: str) -> set[str]:
    """Every module that ``module`` imports anywhere in its source, by full name."""
    tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                below = (PACKAGE.parent / f"{node.module}.{alias.name}".replace(".", "/")).with_suffix(".py")
                found.add(f"{node.module}.{alias.name}" if below.exists() else str(node.module))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_file_imports_only_lower_levels(module: str) -> None:
    own = {name.removeprefix(f"{NAME}.") for name in imports(module) if name.startswith(f"{NAME}.")}
    assert module in LEVELS, "give the new file a level"
    for name in own:
        assert LEVELS[name] < LEVELS[module], f"{module} ({LEVELS[module]}) imports {name} ({LEVELS[name]})"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_server_imports_uvicorn(module: str) -> None:
    if not module.startswith("server."):
        assert not any(name.partition(".")[0] == "uvicorn" for name in imports(module))


@pytest.mark.parametrize("module", [name for name in MODULES if WITHOUT_DJANGO.fullmatch(name)])
def test_what_needs_no_django_imports_none(module: str) -> None:
    assert not any(name.partition(".")[0] in ("django", "asgiref") for name in imports(module))


@pytest.mark.parametrize("module", MODULES)
def test_only_conf_reads_our_options_from_the_settings(module: str) -> None:
    source = (PACKAGE / (module.replace(".", "/") + ".py")).read_text()
    if module != "conf":
        assert not re.search(
            r"settings\.ASGI_DEPLOY\b(?!`)", re.sub(r'""".*?"""|#.*|"[^"\n]*"', "", source, flags=re.S)
        )
    if module.startswith(("layers.", "server.")):
        assert "django.conf" not in imports(module)


@pytest.mark.parametrize("module", MODULES)
def test_a_file_over_400_lines_says_why(module: str) -> None:
    source = (PACKAGE / (module.replace(".", "/") + ".py")).read_text()
    if source.count("\n") > 400:
        assert "400 lines" in (ast.get_docstring(ast.parse(source)) or "")
