"""A chronology in a report."""

from datetime import UTC, datetime

import flyte
import flyte.report

env = flyte.TaskEnvironment(name="timeline")


def test_steps_go_to_their_tab_and_are_escaped():
    @env.task
    async def steps() -> str:
        timeline = flyte.report.Timeline("steps")
        timeline.heading("<load>")
        timeline.row(icon="<", label="<b", meta="m", detail="<i>d</i>", error=ValueError("<e"))
        timeline.row(label="done")
        return flyte.report.get_tab("steps", create_if_missing=False).get_html()

    heading, step, done = flyte.run(steps).result.splitlines()
    assert heading == "<h3>&lt;load&gt;</h3>"
    assert step.startswith('<div class="step">&lt; <b>&lt;b</b> <span class="quiet">m</span> — <i>d</i> ')
    assert step.endswith('</i> <span class="bad">⚠ &lt;e</span></div>')
    assert done == '<div class="step">• <b>done</b></div>'


def test_outside_a_task_it_goes_nowhere():
    flyte.report.Timeline().row(label="x")
    assert not flyte.report.current_report().has_content()


def test_durations():
    duration = flyte.report.duration_ms
    assert duration("2024-01-01T00:00:00", "2024-01-01T00:00:01.5") == "1500 ms"
    assert duration("2024-01-01T00:00:00Z", datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC)) == "1000 ms"
    assert duration("2024-01-01T00:00:01", "2024-01-01T00:00:00") == "-1000 ms"
    assert duration(None, "x") == duration("2024-01-01T00:00:00Z", "2024-01-01T00:00:00") == ""
