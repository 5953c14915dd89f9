"""What the doctor reads out of command lines."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from flask_bgtask.cli.doctor import servers
from flask_bgtask.cli.doctor.crew import Kind, Member, crew_of
from flask_bgtask.cli.doctor.gunicorn import Gunicorn, gunicorn_of
from flask_bgtask.cli.doctor.processes import Process, process_of, program_of, value_of
from flask_bgtask.cli.doctor.uwsgi import Uwsgi, uwsgi_of


@pytest.mark.parametrize(
    ("line", "program", "args"),
    [
        ("gunicorn -w 2 shop:app", "gunicorn", "-w 2 shop:app"),
        ("/srv/bin/python3.11 /srv/bin/gunicorn shop:app", "gunicorn", "shop:app"),
        ("python -u -X dev -m gunicorn.app.wsgiapp shop:app", "gunicorn", "shop:app"),
        ("python -m flask --app shop run", "flask", "--app shop run"),
        ("/usr/bin/uwsgi --ini shop.ini", "uwsgi", "--ini shop.ini"),
        ("gunicorn:|worker|[shop:app]", "gunicorn", ""),
        ("uWSGI|worker|1", "uWSGI", ""),
        ("python serve.py 80", "serve.py", "80"),
        ("python -c pass", "python", ""),
        ("python", "python", ""),
    ],
)
def test_programs(line: str, program: str, args: str) -> None:
    """The program behind an interpreter and its options, or behind a title."""
    words = [word.replace("|", " ") for word in line.split()]
    assert program_of(words) == (program, args.split())


@pytest.mark.parametrize(
    "line", ["-t 5", "-t5", "--timeout 5", "--timeout=5", "--timeout 9 --timeout 5"]
)
def test_values(line: str) -> None:
    """All ways to write an option; the last one counts."""
    args = ["--bind", "t", *line.split(), "app"]
    assert value_of(args, "--timeout", "-t") == "5"
    assert value_of(args, "--graceful-timeout") is None


def test_this_process() -> None:
    """The system tells the command line, folder and environment of a process."""
    here = process_of(os.getpid())
    if here is None:
        pytest.skip("there is no /proc on this system")
    assert here.folder == os.getcwd()
    assert any("pytest" in word for word in here.argv)


def test_processes_that_cannot_be_seen() -> None:
    """One of another machine, and one that is gone."""
    kinds = [member.kind for member in crew_of(["another.example:1", "no number"])]
    assert kinds == [Kind.ELSEWHERE] * 2
    assert process_of(2**30) is None


def member(line: str, folder: Path, **environment: str) -> Member:
    argv = line.split()
    _, args = program_of(argv)
    return Member("here:1", Kind.OTHER, Process(1, argv, str(folder), environment), tuple(args))


def test_gunicorn_s_options(tmp_path: Path) -> None:
    """The command line wins over the environment; defaults where nothing else can say it."""
    assert gunicorn_of(member("gunicorn a:b", tmp_path)) == Gunicorn(False, 30, 30)
    given = member("gunicorn -t 0 -k gevent a:b", tmp_path, GUNICORN_CMD_ARGS="-t 9")
    assert gunicorn_of(given) == Gunicorn(True, math.inf, 30)
    with_file = member("gunicorn -c conf.py --graceful-timeout 8 a:b", tmp_path)
    assert gunicorn_of(with_file) == Gunicorn(False, None, 8)
    assert gunicorn_of(member("gunicorn:", tmp_path)) == Gunicorn(False, None, None)
    wrong = member("gunicorn --timeout soon a:b", tmp_path)
    assert gunicorn_of(wrong) == Gunicorn(False, 30, 30)


INI = """\
[other]
die-on-term = true
[uwsgi]
; a comment
logto = /var/log/%n.log
threads=4
master
worker-reload-mercy = 7
"""


@pytest.mark.parametrize(
    ("line", "environment", "expected"),
    [
        ("uwsgi --module a:b", {}, Uwsgi(False, False, False, 60)),
        ("uwsgi --enable-threads --master --die-on-term", {}, Uwsgi(True, True, True, 60)),
        ("uwsgi -T -M -w a:b", {}, Uwsgi(True, True, False, 60)),
        ("uwsgi --enable-threads=false --gevent 9", {}, Uwsgi(True, False, False, 60)),
        ("uwsgi site.ini", {}, Uwsgi(True, True, False, 7)),
        ("uwsgi --ini site.ini", {}, Uwsgi(True, True, False, 7)),
        ("uwsgi --ini outer.ini", {}, Uwsgi(True, True, True, 7)),
        ("uwsgi a:b", {"UWSGI_ENABLE_THREADS": "1"}, Uwsgi(True, False, False, 60)),
        ("uwsgi --worker-reload-mercy soon", {}, Uwsgi(False, False, False, 60)),
        ("uwsgi --ini missing.ini", {}, None),
        ("uwsgi --ini loop.ini", {}, None),
        ("uwsgi site.yaml", {}, None),
        ("uwsgi --yaml site.yml", {}, None),
        ("uwsgi placeholder.ini", {}, None),
        ("uWSGI", {}, None),
    ],
)
def test_uwsgi_s_options(
    tmp_path: Path, line: str, environment: Mapping[str, str], expected: Uwsgi | None
) -> None:
    """From the command line, an ini file, the environment; or nothing is claimed."""
    (tmp_path / "site.ini").write_text(INI)
    (tmp_path / "outer.ini").write_text("[uwsgi]\nini = site.ini\ndie-on-term = on\n")
    (tmp_path / "loop.ini").write_text("[uwsgi]\nini = loop.ini\n")
    (tmp_path / "placeholder.ini").write_text("[uwsgi]\nenable-threads = $(THREADS)\n")
    assert uwsgi_of(member(line, tmp_path, **environment)) == expected


@pytest.mark.parametrize(
    ("installed", "level"), [("2.0.26", "error"), ("2.0.27", None), (None, "warning")]
)
def test_uwsgi_without_threads(
    monkeypatch: pytest.MonkeyPatch, installed: str | None, level: str | None
) -> None:
    """Older ones let no thread run unless told to; without a version that is not certain."""

    def version(name: str) -> str:
        if installed is None or name != "uwsgi":
            raise servers.PackageNotFoundError
        return installed

    monkeypatch.setattr(servers, "version", version)
    found = list(servers._no_threads())
    assert [finding.level for finding in found] == ([] if level is None else [level])
    assert [finding.write for finding in found] == ["enable-threads = true"] * len(found)
