"""The CronJob controller and its schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from actors.controllers._cronschedule import CronError, parse, zone


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("schedule", "after", "due", "where"),
    [
        ("* * * * *", "2026-01-01T00:00:30+00:00", "2026-01-01T00:01:00+00:00", ""),
        ("0 0 29 2 *", "2026-01-01T00:00:00+00:00", "2028-02-29T00:00:00+00:00", ""),
        ("*/15 8-10 * * mon-fri", "2026-01-03T09:00:00+00:00", "2026-01-05T08:00:00+00:00", ""),
        ("0 0 13 * 5", "2026-02-01T00:00:00+00:00", "2026-02-06T00:00:00+00:00", ""),
        ("@hourly", "2026-02-01T00:00:00+00:00", "2026-02-01T01:00:00+00:00", ""),
        ("@every 90s", "2026-02-01T00:00:00+00:00", "2026-02-01T00:01:30+00:00", ""),
        ("0 9 * * *", "2026-02-01T00:00:00+00:00", "2026-02-01T08:00:00+00:00", "Europe/Berlin"),
        # 02:30 does not exist on the day when clocks go forward, and comes twice when they go back.
        ("30 2 * * *", "2026-03-28T10:00:00+00:00", "2026-03-30T00:30:00+00:00", "Europe/Berlin"),
        ("30 2 * * *", "2026-10-25T00:10:00+00:00", "2026-10-25T00:30:00+00:00", "Europe/Berlin"),
        ("30 2 * * *", "2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00", "Europe/Berlin"),
    ],
)
def test_when_a_schedule_is_due(schedule: str, after: str, due: str, where: str) -> None:
    assert parse(schedule, zone(where)).next(at(after)) == at(due)


def test_a_day_that_never_comes_is_never_due() -> None:
    assert parse("59 23 31 2 *").next(at("2026-01-01T00:00:00+00:00")) is None


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "a * * * *", "@often"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(CronError):
        parse(text)


CONTROLLERS = "cronjob-controller,job-controller,garbage-collector-controller"


def make(template: Any, schedule: str = "* * * * *", **spec: Any) -> dict[str, Any]:
    pod = template("c", restartPolicy="Never")
    pod["metadata"] = {}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "every"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": pod}}, **spec},
    }


def jobs(world: Any) -> list[str]:
    return sorted(j["metadata"]["name"] for j in world.list("jobs"))


def test_a_job_is_made_each_time_named_after_the_minute(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    world.rules.fate = lambda pod: "Succeeded"
    world.create("cronjobs", make(template, successfulJobsHistoryLimit=2))
    minute = int(world.sim.clock.now() // 60)
    world.sim.advance(260)
    assert jobs(world) == [f"every-{minute + 3}", f"every-{minute + 4}"]
    status = world.get("cronjobs", "every")["status"]
    assert at(status["lastScheduleTime"]) == (minute + 4) * 60
    assert at(status["lastSuccessfulTime"]) >= (minute + 4) * 60
    assert "active" not in status
    job = world.get("jobs", f"every-{minute + 4}")
    assert job["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    stamp = job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert at(stamp) == (minute + 4) * 60
    events = world.events("SawCompletedJob")
    assert f"Normal SawCompletedJob CronJob/every: Saw completed job: every-{minute + 1}, condition: Complete" in events


def test_forbid_waits_for_the_running_job(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    world.create("cronjobs", make(template, concurrencyPolicy="Forbid"))
    world.sim.advance(200)
    assert len(jobs(world)) == 1
    assert world.events("JobAlreadyActive")


def test_replace_deletes_the_running_job(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    world.create("cronjobs", make(template, concurrencyPolicy="Replace"))
    minute = int(world.sim.clock.now() // 60)
    world.sim.advance(190)
    assert jobs(world) == [f"every-{minute + 3}"]
    active = world.get("cronjobs", "every")["status"]["active"]
    assert [r["name"] for r in active] == jobs(world)


def test_a_start_missed_by_more_than_the_deadline_is_skipped(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    world.create("cronjobs", make(template, "0 * * * *", startingDeadlineSeconds=100, suspend=True))
    world.sim.advance(3600 + 300)
    world.patch("cronjobs", "every", {"spec": {"suspend": False}})
    world.sim.advance(60)
    assert jobs(world) == []


def test_only_the_latest_of_many_missed_starts_is_made_up_for(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    world.create("cronjobs", make(template, suspend=True))
    world.sim.advance(60 * 150)
    world.patch("cronjobs", "every", {"spec": {"suspend": False}})
    world.sim.advance(1)
    assert jobs(world) == [f"every-{int(world.sim.clock.now() // 60)}"]
    assert world.events("TooManyMissedTimes")
