"""The report of the running task, in real runs: what is written, when, and by whom."""

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import flyte
import flyte.errors
import flyte.report

env = flyte.TaskEnvironment(name="report")


def run(base: Path, task, **kwargs):
    return flyte.with_runcontext("local", name="r1", run_base_dir=str(base)).run(task, **kwargs)


def written(base: Path) -> dict[str, str]:
    """Action -> page, of all reports below the folder of a run; nothing else lies beside one."""
    pages = {}
    for path in base.rglob("*report*"):
        assert path.name == "report.html", path
        pages[path.parent.name] = path.read_text(encoding="utf-8")
    return pages


def test_the_file_exists_after_the_run_and_holds_what_the_body_logged(tmp_path):
    """B11."""

    @env.task(report=True)
    async def logs(x: int) -> str:
        await flyte.report.log.aio(f"<p>x is {x}</p>")
        flyte.report.get_tab("more").log("<p>more</p>")
        return flyte.ctx().output_path

    folder = run(tmp_path, logs, x=7).result
    assert folder == str(tmp_path / "a0")
    page = (Path(folder) / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "<p>x is 7</p>" in page and "<p>more</p>" in page
    assert "<title>report.logs · run r1 · a0</title>" in page


def test_a_sync_body_logs_too(tmp_path):
    @env.task(report=True)
    def logs() -> bool:
        flyte.report.log("<p>one</p>")
        flyte.report.replace("<p>two</p>", do_flush=True)
        seen = "<p>two</p>" in written(tmp_path)["a0"]
        flyte.report.log("<p>three</p>")
        return seen

    assert run(tmp_path, logs).result is True
    page = written(tmp_path)["a0"]
    assert "<p>one</p>" not in page and "<p>two</p>\n<p>three</p>" in page


def test_a_failed_task_leaves_its_report(tmp_path):
    @env.task(report=True)
    async def fails() -> None:
        flyte.report.log("<p>before</p>")
        raise KeyError("lost")

    with pytest.raises(KeyError):
        run(tmp_path, fails)
    assert "<p>before</p>" in written(tmp_path)["a0"]


def test_a_task_out_of_time_leaves_its_report(tmp_path):
    @env.task(report=True, timeout=0.2)
    async def waits() -> None:
        flyte.report.log("<p>waiting</p>")
        await asyncio.sleep(30)

    with pytest.raises(flyte.errors.MaxRuntimeExceededError):
        run(tmp_path, waits)
    assert "<p>waiting</p>" in written(tmp_path)["a0"]


def test_each_attempt_has_a_report_of_its_own(tmp_path):
    @env.task(report=True, retries=2)
    async def third_time_lucky() -> None:
        attempt = flyte.ctx().attempt_number
        flyte.report.log(f"<p>attempt {attempt}</p>")
        if attempt < 2:
            raise OSError("again")

    run(tmp_path, third_time_lucky)
    page = written(tmp_path)["a0"]
    assert "attempt 2" in page and "attempt 0" not in page and "attempt 1" not in page


def test_a_report_that_nobody_fills_is_not_written(tmp_path):
    @env.task(report=True)
    async def quiet() -> None:
        flyte.report.get_tab("empty")

    run(tmp_path, quiet)
    assert written(tmp_path) == {}


def test_without_report_nothing_is_written(tmp_path, caplog, monkeypatch):
    @env.task
    async def logs() -> bool:
        await flyte.report.log.aio("<p>kept</p>")
        await flyte.report.flush.aio()
        return flyte.report.current_report().get_tab("main").get_html() == "<p>kept</p>"

    # The system logger writes to a handler of its own.
    monkeypatch.setattr(flyte.system_logger, "propagate", True)
    assert run(tmp_path, logs).result is True
    assert written(tmp_path) == {}
    assert "the report of task 'report.logs' is not written: declare the task with report=True" in caplog.text


def test_override_turns_it_on(tmp_path):
    @env.task
    async def logs() -> None:
        flyte.report.log("<p>on</p>")

    run(tmp_path, logs.override(report=True))
    assert "<p>on</p>" in written(tmp_path)["a0"]


def test_a_flush_is_seen_by_another_process_while_the_task_runs(tmp_path):
    program = """
import sys, time
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    try:
        page = open(sys.argv[1], encoding="utf-8").read()
    except FileNotFoundError:
        page = ""
    if "<p>half</p>" in page:
        assert page.endswith("</html>\\n")
        print("seen", "<p>whole</p>" in page)
        break
    time.sleep(0.01)
"""

    @env.task(report=True)
    async def works() -> str:
        path = os.path.join(flyte.ctx().output_path, "report.html")
        reader = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        await flyte.report.log.aio("<p>half</p>")
        await flyte.report.flush.aio()
        out, err = await asyncio.wait_for(reader.communicate(), 40)
        assert not err, err
        await flyte.report.log.aio("<p>whole</p>")
        return out.decode().strip()

    assert run(tmp_path, works).result == "seen False"
    assert "<p>whole</p>" in written(tmp_path)["a0"]


def test_concurrent_tasks_do_not_mix(tmp_path):
    @env.task(report=True)
    async def child(i: int) -> str:
        for part in range(5):
            await flyte.report.log.aio(f"<p>child {i} part {part}</p>", do_flush=part == 2)
            await asyncio.sleep(0)
        return flyte.ctx().action.name

    @env.task(report=True)
    def sync_child(i: int) -> str:
        flyte.report.log(f"<p>thread {i}</p>", do_flush=True)
        return flyte.ctx().action.name

    @env.task(report=True)
    async def parent() -> list[list[str]]:
        flyte.report.log("<p>parent</p>")
        names = await asyncio.gather(*[child(i) for i in range(20)])
        threads = await asyncio.gather(*[sync_child.aio(i) for i in range(10)])
        flyte.report.log("<p>done</p>")
        return [list(names), list(threads)]

    names, threads = run(tmp_path, parent).result
    pages = written(tmp_path)
    assert set(pages) == {"a0", *names, *threads} and len(pages) == 31
    assert "<p>parent</p>\n<p>done</p>" in pages["a0"] and "child" not in pages["a0"]
    for i, name in enumerate(names):
        expected = "\n".join(f"<p>child {i} part {part}</p>" for part in range(5))
        assert f"<main>\n{expected}\n</main>" in pages[name]
    for i, name in enumerate(threads):
        assert f"<main>\n<p>thread {i}</p>\n</main>" in pages[name]


def test_groups_and_traced_functions_are_part_of_their_task(tmp_path):
    @flyte.trace
    async def step(x: int) -> int:
        flyte.report.log("<p>in a trace</p>")
        return x

    @env.task(report=True)
    async def works() -> bool:
        with flyte.group("g"):
            flyte.report.log("<p>in a group</p>")
            inside = flyte.ctx().report
        with flyte.custom_context(a="b"):
            await step(1)
        return inside is flyte.ctx().report is flyte.report.current_report()

    assert run(tmp_path, works).result is True
    assert list(written(tmp_path)) == ["a0"]
    assert "<p>in a group</p>\n<p>in a trace</p>" in written(tmp_path)["a0"]


def test_threads_of_one_body_get_one_report(tmp_path):
    @env.task
    def works() -> int:
        together = threading.Barrier(8)
        context = flyte.ctx()

        def ask(reports: list[object]) -> None:
            together.wait(10)
            reports.append(context.report)

        reports: list[object] = []
        threads = [threading.Thread(target=ask, args=(reports,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(reports) == 8
        return len({id(report) for report in reports})

    assert run(tmp_path, works).result == 1


def test_a_page_that_cannot_be_written_costs_no_result(tmp_path, caplog, monkeypatch):
    (tmp_path / "a0").write_text("in the way")

    @env.task(report=True)
    async def works(flush: bool) -> int:
        flyte.report.log("<p>x</p>")
        if flush:
            await flyte.report.flush.aio()
        return 5

    monkeypatch.setattr(flyte.system_logger, "propagate", True)
    assert run(tmp_path, works, flush=False).result == 5
    assert "the report of task 'report.works' could not be written: " in caplog.text
    with pytest.raises(OSError):
        run(tmp_path, works, flush=True)


def test_outside_a_task_logging_goes_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flyte.report.log("<p>x</p>", do_flush=True)
    flyte.report.replace("<p>x</p>")
    flyte.report.flush()
    asyncio.run(flyte.report.log.aio("<p>x</p>", do_flush=True))
    assert flyte.report.get_tab("t").name == "t"
    assert not flyte.report.current_report().has_content()
    assert flyte.ctx().report is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match="string of HTML, but got int"):
        flyte.report.log(5)


def test_signatures_are_those_of_the_published_api():
    assert str(inspect.signature(flyte.report.log)) == "(content: str, do_flush: bool = False) -> None"
    assert str(inspect.signature(flyte.report.replace)) == "(content: str, do_flush: bool = False) -> None"
    assert str(inspect.signature(flyte.report.flush)) == "() -> None"
    assert str(inspect.signature(flyte.report.get_tab)).startswith("(name: str, /, create_if_missing: bool = True)")
    assert flyte.report.log.__doc__.startswith("Add HTML") and asyncio.iscoroutinefunction(flyte.report.log.aio)


def test_a_task_without_a_report_makes_none():
    @env.task
    async def plain() -> bool:
        return flyte.ctx().calls.report is None

    assert flyte.run(plain).result is True


def test_importing_it_loads_nothing_heavy():
    code = "import sys, flyte.report; print([m for m in ('html', 'base64', 'typer', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
