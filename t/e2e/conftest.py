"""Each test file has a server of its own: CONF is the inside of its http block, MAIN what stands above that.

HOOKS = True has it run the module with hooks. What is in braces is explained at harness.Server.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness import Server, certificate, servers


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server of this test file."""
    module = request.module
    conf = {"main": getattr(module, "MAIN", ""), "hooks": getattr(module, "HOOKS", False)}
    with Server(module.CONF, **conf) as server:
        yield server


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts a server for one test: start(http, main=..., hooks=..., env=...)."""
    with ExitStack() as stack:

        def start(http: str, **options: Any) -> Server:
            return stack.enter_context(Server(http, **options))

        yield start


@pytest.fixture(scope="session")
def tls() -> Path:
    """The certificate that {cert} stands for."""
    return certificate()[0]


@pytest.fixture(scope="session", autouse=True)
def _remove_certificate() -> Iterator[None]:
    yield
    if certificate.cache_info().currsize:
        shutil.rmtree(certificate()[0].parent)


def pytest_runtest_setup() -> None:
    for server in servers:
        server.seen = len(server.error_log)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    """A failed test shows what nginx had to say meanwhile."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        report.sections += [(f"error log of {server.dir}", server.error_log[server.seen :]) for server in servers]
