"""CPython's own tests of ``concurrent.futures``, run against ``BackgroundTasks``.

They come with the interpreter, if its maker left them in; they are not copied here.
"""

from __future__ import annotations

import concurrent.futures
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from cpython_executor import BgTaskExecutor

#: CPython's tests that say nothing about us, and why.
DOES_NOT_APPLY = {
    "test_max_workers_negative": "the number of workers is a setting, checked by init_app",
    "test_default_workers": "likewise",
    "test_thread_names_assigned": "threads have the name of their app",
    "test_thread_names_default": "likewise",
    "test_del_shutdown": "an app lives as long as handles of its jobs do",
    "test_idle_thread_reuse": "a thread that has just told its result may not be idle yet; then "
    "the next job starts another, up to BGTASK_WORKERS",
    "test_hang_global_shutdown_lock": "of a lock that only the standard executors have",
}

_HERE = Path(__file__).parent

#: What a program of CPython's tests finds under the name of the standard class.
_PREAMBLE = f"""if True:
    import sys
    sys.path[:0] = [{str(_HERE)!r}, {str(_HERE.parents[1])!r}]
    import concurrent.futures
    from cpython_executor import BgTaskExecutor
    concurrent.futures.ThreadPoolExecutor = concurrent.futures.BgTaskExecutor = BgTaskExecutor
"""


def _modules() -> dict[str, ModuleType]:
    """CPython's test modules by what they are about; from 3.12 on they are a package."""
    name = "test.test_concurrent_futures"
    about = {"thread_pool", "wait", "as_completed", "shutdown"}
    try:
        whole = importlib.import_module(name)
        if not hasattr(whole, "__path__"):
            return dict.fromkeys(about, whole)
        return {each: importlib.import_module(f"{name}.test_{each}") for each in about}
    except ImportError as error:
        reason = f"this interpreter comes without CPython's tests: {error}"
        pytest.skip(reason, allow_module_level=True)


_cpython = _modules()


class Ours:
    """Puts our executor in the place of the standard one."""

    executor_type = BgTaskExecutor

    def setUp(self: Any) -> None:
        module = _cpython["shutdown"]
        run = module.assert_python_ok
        ours = mock.patch.object(concurrent.futures, "ThreadPoolExecutor", BgTaskExecutor)
        self.enterContext(ours)
        self.enterContext(
            mock.patch.object(
                module, "assert_python_ok", lambda flag, code: run(flag, _PREAMBLE + code)
            )
        )
        self.addCleanup(_shut_down_all)
        super().setUp()


def _shut_down_all() -> None:
    """Some of the tests leave that to the garbage collector."""
    for executor in list(BgTaskExecutor.alive):
        executor.shutdown()


def _adapted(module: str, name: str) -> type:
    """A test class of CPython's for threads, with our executor."""
    base = getattr(_cpython[module], name)
    left_out = {test: None for test in DOES_NOT_APPLY if hasattr(base, test)}
    return type(f"{name}OfBgTask", (Ours, base), {**left_out, "__module__": __name__})


ExecutorTest = _adapted("thread_pool", "ThreadPoolExecutorTest")
WaitTest = _adapted("wait", "ThreadPoolWaitTests")
AsCompletedTest = _adapted("as_completed", "ThreadPoolAsCompletedTest")
ShutdownTest = _adapted("shutdown", "ThreadPoolShutdownTest")
