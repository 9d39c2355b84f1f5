"""Seconds per stage."""

from __future__ import annotations

import threading

from unmask import profiling
from unmask.profiling import format_profile, profiled, stage


def test_an_inner_stage_counts_once(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: float(next(clock)))
    with profiled() as profile, stage("network"), stage("reading"):
        pass
    # The clock is read at 1, 2, 3 and 4; 0 is the start of the profile.
    assert (profile.stages["reading"].wall, profile.stages["network"].wall) == (1, 2)


def test_threads_add_up():
    def work():
        with stage("reading"):
            pass

    with profiled() as profile:
        threads = [threading.Thread(target=work) for _ in range(5)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert profile.stages["reading"].calls == 5
    record = profile.to_json()
    assert set(record) == {"imports_cpu_seconds", "stages", "total"}
    assert format_profile(record).splitlines()[2].startswith("reading")


def test_nothing_is_kept_without_a_profile():
    with profiled() as profile:
        pass
    with stage("reading"):
        pass
    assert profile.stages == {}
