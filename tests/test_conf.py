"""The configuration: four sources, one answer."""

import json
import re
from dataclasses import dataclass
from typing import Literal

import pytest
from pytest_django import Settings

from django_asgi_deploy import conf
from django_asgi_deploy import options as declaring
from django_asgi_deploy.exceptions import ConfigurationError
from django_asgi_deploy.server import cpus


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("PORT", "WEB_CONCURRENCY", *(option.variable for option in conf.OPTIONS.values())):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_without_anything_given_every_option_has_its_default() -> None:
    settings = conf.load()
    assert {origin for _, _, origin in settings.items()} == {"default"}
    assert settings.bind == ["127.0.0.1:8000"]


def test_the_command_line_wins_over_environment_settings_and_default(
    environment: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.ASGI_DEPLOY = {"LOOP": "asyncio", "HTTP": "h11", "BACKLOG": 10}
    environment.setenv("ASGI_DEPLOY_LOOP", "auto")
    environment.setenv("ASGI_DEPLOY_HTTP", "httptools")
    loaded = conf.load({"LOOP": "uvloop"})
    assert (loaded.loop, loaded.origins["LOOP"]) == ("uvloop", "--loop")
    assert (loaded.http, loaded.origins["HTTP"]) == ("httptools", "ASGI_DEPLOY_HTTP")
    assert (loaded.backlog, loaded.origins["BACKLOG"]) == (10, "settings.ASGI_DEPLOY")
    assert loaded.static == "auto"


def test_a_list_in_the_environment_is_json_or_one_text(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ASGI_DEPLOY_BIND", '["8000", "unix:/run/a,b.sock"]')
    assert conf.load().bind == ["8000", "unix:/run/a,b.sock"]
    environment.setenv("ASGI_DEPLOY_BIND", "unix:/run/a,b.sock")
    assert conf.load().bind == ["unix:/run/a,b.sock"]


def test_a_dictionary_in_the_environment_is_json(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ASGI_DEPLOY_UVICORN", '{"ws_max_size": 1024}')
    assert conf.load().uvicorn == {"ws_max_size": 1024}
    environment.setenv("ASGI_DEPLOY_UVICORN", "ws_max_size=1024")
    with pytest.raises(ConfigurationError, match=r"expected a dictionary of .*, written as JSON"):
        conf.load()


def test_what_is_handed_on_as_environment_is_read_back_the_same(environment: pytest.MonkeyPatch) -> None:
    given = {"BIND": ["8000", "[::1]:8000"], "ACCESS_LOG": "off", "BACKLOG": "16"}
    first = conf.load(given)
    for name, value in conf.as_environment(given).items():
        environment.setenv(name, value)
    second = conf.load()
    assert [value for _, value, _ in first.items()] == [value for _, value, _ in second.items()]


def test_port_gives_way_to_a_bind_from_anywhere_and_says_so(
    environment: pytest.MonkeyPatch, settings: Settings
) -> None:
    environment.setenv("PORT", "9000")
    assert conf.load().bind == ["0.0.0.0:9000"]
    settings.ASGI_DEPLOY = {"BIND": ["8000"]}
    loaded = conf.load()
    assert loaded.bind == ["8000"]
    assert loaded.notes == ("PORT=9000 is not used: BIND is given by settings.ASGI_DEPLOY.",)


def test_an_empty_variable_is_as_good_as_none(environment: pytest.MonkeyPatch) -> None:
    """Compose files write ``ASGI_DEPLOY_BIND=`` for what isn't given."""
    environment.setenv("ASGI_DEPLOY_BIND", "")
    assert conf.load().origins == {}


def test_web_concurrency_is_the_number_of_workers_unless_our_own_variable_is_set(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("WEB_CONCURRENCY", "4")
    assert (conf.load().workers, conf.load().origins["WORKERS"]) == (4, "WEB_CONCURRENCY")
    environment.setenv("ASGI_DEPLOY_WORKERS", "3")
    assert conf.load().workers == 3


@pytest.mark.parametrize("variable", ["WEB_CONCURRENCY", "ASGI_DEPLOY_WORKERS"])
def test_what_auto_comes_to_is_printed_with_the_rule(environment: pytest.MonkeyPatch, variable: str) -> None:
    environment.setenv(variable, "auto")
    loaded = conf.load()
    number, rule = cpus.count()
    assert loaded.workers_decided == (number, rule)
    assert re.search(rf'^WORKERS +"auto" +{variable} \({number} now: {rule}\)$', conf.as_text(loaded), re.MULTILINE)
    shown = json.loads(conf.as_json(loaded))["WORKERS"]
    assert shown == {"value": "auto", "origin": variable, "now": number, "rule": rule}


def test_what_is_neither_a_number_of_workers_nor_auto_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--workers many: expected auto or a whole number, at least 1"):
        conf.load({"WORKERS": "many"})


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_web_concurrency_that_is_no_number_only_gets_a_line(environment: pytest.MonkeyPatch, count: str) -> None:
    environment.setenv("WEB_CONCURRENCY", count)
    loaded = conf.load()
    assert loaded.workers == 1
    assert loaded.notes == (f"WEB_CONCURRENCY={count} is ignored: expected a number of workers, or auto.",)


def test_a_path_object_is_as_good_as_a_string(settings: Settings, tmp_path: object) -> None:
    settings.ASGI_DEPLOY = {"SSL_CERTFILE": tmp_path}
    assert conf.load().ssl_certfile == str(tmp_path)


def test_false_and_off_are_the_same_for_the_access_log(settings: Settings) -> None:
    settings.ASGI_DEPLOY = {"ACCESS_LOG": False}
    assert conf.load().access_log is False
    assert conf.load({"ACCESS_LOG": "off"}).access_log is False
    settings.ASGI_DEPLOY = {"ACCESS_LOG": "off", "STATIC": False}
    assert conf.load().access_log is False
    assert conf.load().static == "off"
    settings.ASGI_DEPLOY = {"ACCESS_LOG": 0}
    with pytest.raises(ConfigurationError, match="expected auto or text or json or off or a format such as"):
        conf.load()


def test_text_and_json_show_the_same() -> None:
    loaded = conf.load({"BACKLOG": "16"})
    shown = json.loads(conf.as_json(loaded))
    rows = [line.split(None, 1) for line in conf.as_text(loaded).splitlines()]
    assert [row[0] for row in rows] == list(shown)
    assert shown["BACKLOG"] == {"value": 16, "origin": "--backlog"}


def test_every_option_has_a_group_and_a_help_text_that_ends_with_a_full_stop() -> None:
    for option in conf.OPTIONS.values():
        assert option.group in conf.GROUPS
        assert option.help.endswith(".")


def test_units_are_in_the_names_of_numbers_that_have_one() -> None:
    for option in conf.OPTIONS.values():
        if "timeout" in option.name or "keep_alive" in option.name:
            assert option.name.endswith("_seconds")


def test_a_word_may_stand_in_the_place_of_a_number() -> None:
    """``int | Literal["auto"]`` takes both, from text and from settings, and nothing else."""

    @dataclass
    class Declared:
        count: int | Literal["auto"] = declaring.option("auto", "processes", "How many.", minimum=1)

    count = declaring.options_of(Declared, "TEST_")["COUNT"]
    assert [count.convert(count.parse(text)) for text in ("auto", "3")] == ["auto", 3]
    assert count.expected == "auto or a whole number, at least 1"
    for wrong in ("many", "0"):
        with pytest.raises(ValueError, match="expected auto or a whole number, at least 1"):
            count.convert(count.parse(wrong))
