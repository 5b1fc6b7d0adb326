"""A hundred thousand hostile requests of every kind against guard and protocol: `make drill`. It prints what was held."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from harness import Server
from hostile import CONF, KINDS, attack

EACH = 10_000  # of a kind
SECONDS = 40  # for each at most, so that all take less than ten minutes


def test_hostile_requests_run_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Server(CONF) as server:
        workers = server.workers()
        tried = dict.fromkeys(KINDS, 0)
        through = {kind: [] for kind in KINDS}  # type: dict[str, list[object]]
        for number, kind in enumerate(KINDS):
            until = time.monotonic() + SECONDS
            for seed in range(EACH // 100):
                if time.monotonic() > until:
                    break
                through[kind] += attack(server, tmp_path / "sprung", kind, 100, seed * len(KINDS) + number)
                tried[kind] += 100
        with capsys.disabled():
            print(f"\n{'':40}{'tried':>9}{'held':>9}")
            for kind in KINDS:
                print(f"{kind:40}{tried[kind]:9}{tried[kind] - len(through[kind]):9}")
            print(f"{'all':40}{sum(tried.values()):9}{sum(tried.values()) - sum(map(len, through.values())):9}")
        assert {kind: those[:3] for kind, those in through.items() if those} == {}
        assert server.workers() == workers
        assert server.run("def run(): return 'fine'").text == "fine"
