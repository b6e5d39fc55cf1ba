"""Every example says how it is run; that is run here, as a reader would, and what it prints is checked."""

import ast
import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
FILES = sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*/main.py")])
TIMEOUT_S = 60

# What each command must print: regular expressions that are found in its output in this order.
SAYS: dict[str, list[str]] = {
    "python examples/hello.py": [r"^Hello, Ada!$"],
    "flyte run examples/hello.py main --name Ada": [r"^Hello, Ada!$"],
    "python examples/fan_out.py": [
        r"^gather +\[0, 1, 4, 9, 16\]$",
        # The last page waits 0.2 s less than the first.
        r"^as_completed \[(?=.*\b16\b.*\b0\b)(?=.*\b9\b)(?=.*\b4\b)(?=.*\b1\b)(\d+, ){4}\d+\]$",
        r"^task group +\{'page 0': 0, 'page 1': 1, 'page 2': 4, 'page 3': 9, 'page 4': 16\}$",
    ],
    "flyte run examples/fan_out.py main --n 10": [
        r"gathered=\[0,\s+1,\s+4,\s+9,\s+16,\s+25,\s+36,\s+49,\s+64,\s+81\]",
        r"completed=\[\d+,.*\b0\]",
        r"'page 9': 81\}",
    ],
    "python examples/types_tour.py": [
        r"^customer: Customer\(name='Ada'\)$",
        r"^pizzas: \[Pizza\(size=<Size.LARGE: 'large'>, toppings=\['basil'\], note=None\),",
        r" Pizza\(size=<Size.SMALL: 'small'>, toppings=\[\], note='no cheese'\)\]$",
        r"^due: datetime.datetime\(2026, 2, 28, 19, 30, tzinfo=datetime.timezone.utc\)$",
        r"^delay: datetime.timedelta\(seconds=1200\)$",
        r"^coupon: 2026$",
        r"^stock: \{'basil': \[3, 1\], 'ham': \[\]\}$",
    ],
    "flyte run examples/types_tour.py main": [r"coupon: 2026", r"stock: \{'basil': \[3, 1\], 'ham': \[\]\}"],
    """flyte run examples/types_tour.py bake --pizza '{"size": "large", "toppings": ["basil"]}' --minutes 8""": [
        r"^large pizza with basil, 8 minutes$"
    ],
    "python examples/sync_tasks.py": [
        r"^one half is 0\.5$",
        r"^1/0 failed: division by zero$",
        r"^1/1 = 1\.000$",
        r"^1/3 = 0\.333$",
        r"^mapped: \[1\.0, 0\.5, 0\.25\]$",
        r"^4 x 0\.5 s of blocking took (0\.[5-9]|1\.[0-8]) s in 4 threads$",
    ],
    "flyte run examples/sync_tasks.py main --n 10": [
        r"1/0 failed: division by zero",
        r"1/9 = 0\.111",
        r"10 x 0\.5 s of blocking took (0\.[5-9]|[1-3]\.\d) s in 10 threads",
    ],
    "python examples/recovery.py": [
        (
            r"^a first run, which is killed:\n  asked 'rain\?'\n  trained fold 0\n  trained fold 1\n"
            r"it ended by signal 9; a second run goes on:\n  trained fold 2\n  trained fold 3\n"
            r"rain\? at \d\d:\d\d, dice says [1-6]: 0\.6$"
        ),
    ],
    "flyte run examples/recovery.py main --folds 2": [r"rain\? at \d\d:\d\d, dice says [1-6]: 0\.1"],
    "python examples/task_plugin.py": [r"^7\.0$"],
    "flyte run examples/task_plugin.py main --seed 3": [r"^3\.0$"],
    "python examples/image_builder.py": [r"^built \S+/tools\nbuilt \S+/tools\nthere \S+/tools$"],
    "flyte build examples/image_builder.py": [r"^shelf +example.com/tools:\w+$"],
    "flyte run examples/image_builder.py main": [r"^no image is needed here$"],
    "python examples/dataframe_format.py": [r"^reading frame\.csv\n3\.5 mm$"],
    "flyte run examples/dataframe_format.py main": [r"^reading frame\.csv$", r"3\.0"],
    "python examples/cli_command.py": [r"^5 words!$"],
    'flyte run examples/cli_command.py main --text "a bee"': [r"^2$"],
    "python examples/caching.py": [
        r"^total 30, computed on Monday$",
        r"^total 30, computed on Tuesday$",
        r"^7 bodies ran$",
        r"^total 55, computed on Monday$",
        r"^total 55, computed on Monday$",
        r"^2 bodies ran$",
    ],
    "FLYTE_CACHE=off flyte run examples/caching.py main --n 3": [
        r"total 5, computed on Monday",
        r"total 5, computed on Tuesday",
    ],
    "python examples/errors_and_retries.py": [
        r"^attempt 2 succeeded$",
        r"^only 3 left, so 3 x tea$",
        r"^MaxRuntimeExceededError: task 'errors_and_retries\.slow' ran longer than its max_runtime of 0\.2 s",
        r"^NonRecoverableError: card 1234 was refused in attempt 0$",
    ],
    "flyte run examples/errors_and_retries.py main --item tea": [
        r"attempt 2 succeeded",
        r"only 3 left, so 3 x tea",
        r"max_runtime of 0\.2 s",
        r"NonRecoverableError: card 1234 was refused in attempt 0",
    ],
    "python examples/files.py": [
        r"^summary\.txt: 3 files, 6000 lines, longest is part-2\.txt$",
        r"^sha256 of the summary: [0-9a-f]{64}$",
    ],
    "flyte run examples/files.py main --parts 2": [r"summary\.txt: 2 files, 3000 lines, longest is part-1\.txt"],
    "python examples/dataframes.py": [r"^before: \['dry'\]$", r"^total: 18\.5 mm$", r"^wet: 4 of 7 days$"],
    "flyte run examples/dataframes.py main --days 10": [r"total: 25\.5 mm", r"wet: 6 of 10 days"],
    "python examples/report.py": [
        r"^row 18 has no date; its report says how far it came$",
        r"^3 tabs, 1 picture, 3 epochs$",
        r"^open \S+/report\.html$",
    ],
    "flyte run examples/report.py main --epochs 5": [r"row 18 has no date", r"/local/runs/"],
    "python examples/checkpoint.py": [
        r"^epoch 1 in attempt 0$",
        r"^epoch 2 in attempt 1$",
        r"^continued from step-3\.ckpt$",
    ],
    "flyte run examples/checkpoint.py main --epochs 4": [r"epoch 3 in attempt 1"],
    "python examples/approval.py": [
        r"^Ada: 250\.00 paid \(a good customer\)$",
        r"^Bob: refused \(no note\)$",
        r"^Cleo: nobody has decided, so nothing is paid$",
    ],
    "flyte run examples/approval.py main --amount 250.0": [r"Ada: 250\.00 paid", r"Bob: refused", r"Cleo: nobody"],
    "python examples/history.py": [
        r"^bad-rows: failed, inputs \{'rows': 5\}, outputs \{\}$",
        r"^good-rows: succeeded, inputs \{'rows': 3\}, outputs \{'o0': 30\}$",
        r"^  history\.clean\(2\) gave \{'row': 2, 'value': 20\}$",
        r"^first failure: history\.clean: row 4 is empty$",
        r"^log:\n  cleaned row 0$",
    ],
    "flyte run examples/history.py main --rows 3": [r"^30$"],
    "python examples/overriding.py": [
        r"^3 epochs at 0\.1, attempt 0$",
        r"^30 epochs at 0\.5, attempt 1$",
        r"^3 epochs at 0\.1, attempt 0$",
    ],
    "flyte run examples/overriding.py main --epochs 3": [
        r"\b3 epochs at 0\.1, attempt 0",
        r"30 epochs at 0\.5, attempt 1",
        r"\b3 epochs at 0\.1, attempt 0",
    ],
    "python examples/environments.py": [
        r"^in main before: units=None, token=None$",
        r"^in forecast for Oslo: units=metric, token=6 characters$",
        r"^in main after: units=None, token=None$",
    ],
    "FORECAST_KEY=sesame flyte run examples/environments.py main --city Oslo": [
        r"in main before: units=None, token=None",
        r"in forecast for Oslo: units=metric, token=6 characters",
        r"in main after: units=None, token=None",
    ],
    "python examples/concurrent_runs.py": [
        r"^for-grace: 1 steps for grace in run for-grace$",
        r"^for-alan: 3 steps for alan in run for-alan$",
        r"^for-ada: 6 steps for ada in run for-ada$",
    ],
    "flyte run examples/concurrent_runs.py main --n 5": [r"^5 steps for nobody in run \S+$"],
    "python examples/workers.py": [
        r"^one call failed: WorkerDied$",
        r"^with more memory: 400 MiB$",
        r"^First\? 1 time loaded - Second\? 1 time loaded$",
        r"^4203 primes, 8 lines$",
    ],
    "flyte run --workers 2 examples/workers.py main --limit 60000": [r"^6057 primes, 8 lines$"],
    "python examples/image.py": [
        r"^FROM python:3\.12-slim-bookworm$",
        r"--no-install-recommends jq ",
        r"uv pip install flyte 'humanize>=4'$",
        r"^COPY --chown=flyte:flyte file-[0-9a-f]{12}/image\.py \./$",
        r'^ENV GREETING="Hello"$',
        r"^# words, and a tag of 32 digits$",
        r"^one more package, another tag: True$",
        r"^the same recipe, the same tag: True$",
    ],
    "flyte build --dry-run examples/image.py": [r"^# words:[0-9a-f]{32}$", r"^FROM python:", r"^ENV _F_IMG_ID=words:"],
    'flyte run examples/image.py main --text "a bee and a bear"': [r"\{'a': 2, 'and': 1, 'bear': 1, 'bee': 1\}"],
    "python examples/notebook.py": [r"^succeeded \[0, 1, 4\]$", r"^\[0, 1, 8\]$"],
    "flyte run examples/notebook.py main --n 10": [r"0, 1, 8, 27, 64, 125, 216, 343, 512, 729"],
    "python examples/custom_type.py": [r"^7381/2520$"],
    """flyte run examples/custom_type.py main --parts '["1/2", "1/3", "1/6"]'""": [r"^Fraction\(1, 1\)$"],
    "python examples/own_store.py": [r"^shelf://run/\w+/own_store\.py$"],
    "flyte run --raw-data-path shelf://run examples/own_store.py main": [
        r"^File\(path='shelf://run/\w+/own_store\.py'"
    ],
    "python examples/custom_controller.py": [
        r"^square\(0\) = 0  \[\d+\.\d ms\]$",
        r"^square\(1\) = 1  \[",
        r"^square\(2\) = 4  \[",
        r"^total\(\[0, 1, 2\]\) = 5  \[",
        r"^main\(n=3\) = 5  \[",
        r"^result: 5$",
    ],
    "flyte run examples/custom_controller.py main --n 3": [r"^5$"],
    "python examples/testing_workflows.py": [
        r"^3 calls such as \{'item': 'tea', 'price': 3\}, and 2 days, 0:00:00 went by$",
        r"^replayed 2 calls, charged 0 times: 3 paid for jam$",
        r"^50 runs with crashes end alike; a crash in the middle of a charge can charge [23] times$",
    ],
    "flyte run examples/testing_workflows.py main --item tea": [r"^3 paid for tea$"],
    # The figures themselves are checked in test_word_statistics.py.
    "python examples/word_statistics/main.py": [
        r"^15 documents, 521,002 words, 14,858 different$",
        r"^most frequent: the 34,905, of 22,447, and 18,646, to 17,805, in \S+, a \S+$",
        r"^longest:       institutionalization, extraterritoriality,( \w+,?){4}$",
        r"^1934-franklin-d-roosevelt +47,424 +5,170  japanese, hitler,( \w+,?){4}$",
        r"^1993-william-j-clinton +60,170 +4,948  tonight, parents, internet,( \w+,?){3}$",
    ],
    "flyte run examples/word_statistics/main.py report --top 5": [
        r"^15 documents, 521,002 words, 14,858 different$",
        r"^1934-franklin-d-roosevelt +47,424 +5,170  japanese, hitler,( \w+,?){3}$",
    ],
    "flyte run --output json examples/word_statistics/main.py main --top 3": [
        r'"phase": ?"succeeded"',
        r'"words": ?521002, ?"different": ?14858',
        r'"frequent": ?\{"the": ?34905, ?"of": ?22447, ?"and": ?18646\}',
    ],
}


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def commands(path: Path) -> list[str]:
    """The lines of an example's docstring that begin with a prompt: what a reader is told to type."""
    return re.findall(r"^\$ (.+)$", docstring(path), flags=re.MULTILINE)


COMMANDS = [command for path in FILES for command in commands(path)]


def execute(command: str, state: Path) -> str:
    """Type ``command`` in the checkout, with the interpreter that runs the tests, and give what it printed."""
    words = shlex.split(command)
    environment = {**os.environ, "FLYTE_HOME": str(state)}
    while "=" in words[0]:
        name, value = words.pop(0).split("=", 1)
        environment[name] = value
    program = {"python": sys.executable, "flyte": str(Path(sys.executable).with_name("flyte"))}[words[0]]
    done = subprocess.run(
        [program, *words[1:]], capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.timeout(TIMEOUT_S + 30)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_docstring_prints_what_it_must(command, tmp_path):
    output = execute(command, tmp_path)
    position = 0
    for pattern in SAYS[command]:
        found = re.compile(pattern, re.MULTILINE | re.DOTALL).search(output, position)
        assert found, f"after {position} characters, {pattern!r} is not in:\n{output}"
        position = found.end()


def test_there_are_expectations_for_every_command_and_no_others():
    assert sorted(COMMANDS) == sorted(SAYS)
    assert all(SAYS.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
class TestEachFile:
    def test_it_can_be_run_in_both_ways(self, path):
        name = path.relative_to(ROOT).as_posix()
        assert f"python {name}" in commands(path)
        flyte_run = re.compile(rf"\bflyte run (--\S+ \S+ )*{re.escape(name)} main\b")
        assert any(flyte_run.search(command) for command in commands(path))

    def test_it_is_short(self, path):
        # The one that works on real data has more to do.
        limit = 110 if path.parent.name == "word_statistics" else 75
        assert len(path.read_text(encoding="utf-8").splitlines()) <= limit

    def test_it_uses_public_names_only(self, path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = {
            "flyte",
            "flyte.durable",
            "flyte.errors",
            "flyte.extend",
            "flyte.remote",
            "flyte.report",
            "flyte.io",
            "flyte.storage",
            "flyte.testing",
            "flyte.types",
        }
        for node in ast.walk(tree):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
                assert not any(alias.name.startswith("_") for alias in node.names)
            elif isinstance(node, ast.Attribute):
                assert not re.match(r"_[a-z]", node.attr) or node.attr == "_asdict", node.attr
            for module in modules:
                assert module.split(".")[0] != "flyte" or module in public, module


def test_the_readme_lists_each_example_with_the_first_line_of_its_docstring():
    rows = re.findall(r"^\| \[(\S+)\]\((\S+)\) \| (.+) \|$", (EXAMPLES / "README.md").read_text(), flags=re.MULTILINE)
    assert [name for name, _, _ in rows] == [link for _, link, _ in rows]
    listed = {name: text for name, _, text in rows}
    assert len(listed) == len(rows)
    assert listed == {path.relative_to(EXAMPLES).as_posix(): docstring(path).splitlines()[0] for path in FILES}


# What issue and README call the recipe of the house: one class or function, and one line that registers it.
RECIPES = {
    "task_plugin.py": "TaskPluginRegistry.register(",
    "custom_type.py": "TypeEngine.register(",
    "image_builder.py": "ImageBuildEngine.register(",
    "dataframe_format.py": "DataFrameTransformerEngine.register(",
    "own_store.py": "register_store(",
    "cli_command.py": "flyte.plugins.cli.commands",
}


@pytest.mark.parametrize("name", RECIPES)
def test_what_others_add_takes_fewer_than_40_lines(name):
    text = (EXAMPLES / name).read_text()
    assert RECIPES[name] in text and len(text.splitlines()) < 40
    assert EXAMPLES / name in FILES  # so its commands run above


def test_the_controller_of_the_example_has_at_most_30_lines():
    tree = ast.parse((EXAMPLES / "custom_controller.py").read_text())
    (controller,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert controller.end_lineno - controller.lineno + 1 <= 30


def test_the_notebook_runs_where_an_event_loop_is_running(capsys):
    """As in Jupyter: each cell is run as a whole, in one namespace, while the kernel's loop runs."""
    source = (EXAMPLES / "notebook.py").read_text()
    cells = re.split(r"^# %%.*$", source, flags=re.MULTILINE)
    assert len(cells) == 4

    async def kernel():
        namespace = {"__name__": "__main__"}
        for cell in cells:
            exec(compile(cell, "<cell>", "exec"), namespace)
            await asyncio.sleep(0)

    asyncio.run(kernel())
    assert capsys.readouterr().out.splitlines() == ["succeeded [0, 1, 4]", "[0, 1, 8]"]
