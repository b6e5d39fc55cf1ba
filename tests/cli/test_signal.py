"""``flyte signal``: the list, the answers and their errors; and the question on the terminal of ``flyte run``."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import textwrap
import time

import pytest
from cli_process import command, environment

from flyte._journal import signals
from flyte.errors import ConditionNotFoundError

PROGRAM = """
    import dataclasses
    import flyte

    env = flyte.TaskEnvironment(name="flow")

    @dataclasses.dataclass
    class Decision:
        approved: bool
        limit: float = 1.5

    TYPES = {"bool": bool, "int": int, "str": str, "decision": Decision}

    @env.task
    async def main(kind: str = "bool", timeout: float = 60.0) -> str:
        condition = await flyte.new_condition.aio(
            "approve", prompt=f"Is {kind} fine?", data_type=TYPES[kind], description="Think first.", timeout=timeout
        )
        return repr(await condition.wait.aio())

    @env.task
    def plain(kind: str = "bool") -> str:
        return repr(flyte.new_condition("approve", data_type=TYPES[kind]).wait())
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "flow.py").write_text(textwrap.dedent(PROGRAM))
    return tmp_path


def surroundings(**more: str) -> dict[str, str]:
    return environment(FLYTE_HOME=os.environ["FLYTE_HOME"], USER="grace", LOGNAME="grace", **more)


class Runs:
    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def start(self, *args: str) -> "subprocess.Popen[str]":
        """A run whose condition another process can see."""
        process = subprocess.Popen(
            command("run", "--name", "r1", "flow.py", *args),
            cwd=self.folder,
            env=surroundings(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        when_paused("r1")
        return process

    def signal(self, *args: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command("signal", *args),
            cwd=self.folder,
            env=surroundings(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
        )


def when_paused(run: str) -> None:
    until = time.monotonic() + 15
    while True:
        with contextlib.suppress(ConditionNotFoundError):
            if signals.find_condition(run, "approve").is_open:
                return
        assert time.monotonic() < until, "the run has not reached its condition"
        time.sleep(0.02)


@pytest.fixture
def runs(folder):
    made = Runs(folder)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


# The command ----------------------------------------------------------------------------------------------------------


def test_a_run_waits_is_listed_and_goes_on_when_it_is_answered(runs):
    process = runs.start("main")
    listed = runs.signal("r1")
    assert re.search(r"^NAME +TYPE +PHASE +SINCE +PROMPT +ANSWER$", listed.stdout, re.M)
    assert re.search(r"^approve +bool +paused +\d{4}-\d\d-\d\d [\d:]{8} +Is bool fine\?$", listed.stdout, re.M)
    assert listed.stderr == "to answer: flyte signal r1 approve VALUE\n"
    assert runs.signal("last").stdout == listed.stdout

    bad = runs.signal("r1", "approve", "perhaps")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == "Error: condition 'approve' of run r1: 'perhaps' is not a bool: answer yes or no\n"

    answered = runs.signal("r1", "approve", "yes", "--by", "ada")
    assert (answered.returncode, answered.stderr) == (0, "")
    assert answered.stdout == "condition 'approve' of run r1 is answered, and the run goes on\n"
    assert process.communicate(timeout=30)[0] == "True\n"

    listed = runs.signal("r1")
    assert re.search(r"^approve +bool +succeeded .* true by ada at \d{4}-\d\d-\d\d [\d:]{8}$", listed.stdout, re.M)
    assert runs.signal("r1", "approve", "true").returncode == 0
    other = runs.signal("r1", "approve", "no")
    assert other.returncode == 1
    assert re.search(r"was answered true by ada at .*; the first answer counts", other.stderr)


def test_values_by_their_type_and_who_said_them(runs):
    process = runs.start("main", "--kind", "int")
    assert (
        runs.signal("last", "approve", "-5").stdout
        == "condition 'approve' of run r1 is answered, and the run goes on\n"
    )
    assert process.communicate(timeout=30)[0] == "-5\n"
    listed = json.loads(runs.signal("r1", "--output", "json").stdout)
    assert listed[0]["answer"] == {"value": -5, "at": listed[0]["answer"]["at"], "by": "grace"}
    assert {key: listed[0][key] for key in ("name", "type", "phase", "prompt", "description", "timeout_s")} == {
        "name": "approve",
        "type": "int",
        "phase": "succeeded",
        "prompt": "Is int fine?",
        "description": "Think first.",
        "timeout_s": 60.0,
    }


def test_json_for_what_has_structure_and_the_form_of_the_published_command(runs):
    process = runs.start("main", "--kind", "decision")
    bad = runs.signal("condition", "r1", "approve", '{"approved": "yes"}')
    assert bad.returncode == 1
    assert "is not a Decision: at ['approved']: it must be true or false" in bad.stderr
    assert runs.signal("condition", "r1", "approve", '{"approved": true}').returncode == 0
    assert process.communicate(timeout=30)[0] == "Decision(approved=True, limit=1.5)\n"


def test_mistakes_are_named(runs):
    assert "there is no run 'r1': no run is remembered" in runs.signal("r1").stderr
    runs.start("main")
    assert "there is no run 'r11' in the history; did you mean 'r1'?" in runs.signal("r11", "approve", "y").stderr
    assert "run 'r1' has no condition 'aprove'; did you mean 'approve'?" in runs.signal("r1", "aprove", "y").stderr
    missing = runs.signal("r1", "approve")
    assert missing.returncode == 2
    assert "a VALUE is missing: flyte signal r1 approve VALUE (bool: Is bool fine?)" in missing.stderr
    assert "No such option: --bye" in runs.signal("r1", "approve", "y", "--bye").stderr
    assert "put a VALUE with spaces in quotes" in runs.signal("r1", "approve", "y", "please").stderr


def test_an_answer_to_a_run_that_was_killed_is_kept_for_the_next(runs):
    process = runs.start("main")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    said = runs.signal("r1", "approve", "no").stdout
    assert "the run's process has ended, so the value is taken when it is started again" in said
    assert "flyte rerun r1 --recover" in said
    done = subprocess.run(
        command("rerun", "--recover", "r1"), cwd=runs.folder, env=surroundings(), capture_output=True, text=True
    )
    assert done.stdout == "False\n"


def test_time_runs_out(runs):
    process = runs.start("main", "--timeout", "0.3")
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert "ConditionTimedoutError: nobody answered condition 'approve' of run r1 within its timeout of 0.3 s" in errors
    late = runs.signal("r1", "approve", "y")
    assert late.returncode == 1
    assert "condition 'approve' of run r1 waits no more: it has timed out" in late.stderr


# The terminal ---------------------------------------------------------------------------------------------------------

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command on a terminal of its own, as a shell starts it in the foreground."""

    def __init__(self, folder, *args: str, **more: str) -> None:
        self.leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        self.process = subprocess.Popen(
            command(*args),
            cwd=folder,
            env=surroundings(TERM="xterm-256color", **more),
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
            # The session's terminal, which start_new_session alone does not give.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(follower)
        self.written = ""

    def read(self, within_s: float) -> bool:
        if not select.select([self.leader], [], [], within_s)[0]:
            return True
        try:
            data = os.read(self.leader, 65536)
        except OSError:  # Linux reports the terminal's end as an error
            return False
        self.written += ESCAPES.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")
        return bool(data)

    def until(self, text: str, within_s: float = 15.0) -> None:
        end = time.monotonic() + within_s
        while text not in self.written:
            assert time.monotonic() < end, f"{text!r} did not appear in: {self.written}"
            assert self.read(0.1), f"{text!r} did not appear in: {self.written}"

    def type(self, text: str) -> None:
        os.write(self.leader, text.encode())

    def end(self, code: int = 0, within_s: float = 15.0) -> str:
        end = time.monotonic() + within_s
        while self.read(0.1):
            assert time.monotonic() < end, f"it has not ended: {self.written}"
        assert self.process.wait(timeout=10) == code, self.written
        return self.written

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.leader)


@pytest.fixture
def terminal(folder):
    made = []

    def start(*args: str, **more: str) -> Terminal:
        made.append(Terminal(folder, *args, **more))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_the_terminal_of_the_run_is_asked(terminal):
    run = terminal("run", "--name", "r1", "flow.py", "main")
    run.until("Answer here with y or n, or elsewhere with: flyte signal r1 approve VALUE")
    assert "run r1 waits for an answer to condition 'approve' (bool): Is bool fine?\nThink first.\n" in run.written
    time.sleep(0.5)  # the live tree would be drawn by now
    assert "flow.main  running" not in run.written.rpartition("Answer here")[2]
    run.type("perhaps\n")
    run.until("'perhaps' is not a bool: answer yes or no")
    run.type("\ny\n")
    assert run.end().endswith("2 done\nTrue\n")
    (asked,) = signals.conditions_of("r1")
    assert (asked.answer.value, asked.answer.by) == ("true", "grace")


def test_a_value_with_structure_is_typed_as_json(terminal):
    run = terminal("--no-progress", "run", "--name", "r1", "flow.py", "main", "--kind", "decision")
    run.until("Answer here with a Decision")
    run.type('{"approved": 1}\n')
    run.until("at ['approved']: it must be true or false")
    run.type('{"approved": false}\n')
    assert run.end().endswith("Decision(approved=False, limit=1.5)\n")


def test_a_sync_task_asks_too(terminal):
    run = terminal("run", "--name", "r1", "flow.py", "plain", "--kind", "str")
    run.until("Answer here with a str")
    run.type("two words\n")
    assert run.end().endswith("'two words'\n")


def test_an_answer_from_elsewhere_comes_first(terminal, runs):
    run = terminal("run", "--name", "r1", "flow.py", "main")
    run.until("Answer here with y or n")
    run.type("n")  # half an answer, which nobody sends
    assert runs.signal("r1", "approve", "y", "--by", "ada").returncode == 0
    written = run.end()
    assert "condition 'approve' was answered elsewhere, by ada\n" in written
    assert written.endswith("True\n")


def test_the_end_of_the_run_waits_for_nobody_at_the_terminal(terminal):
    run = terminal("run", "--name", "r1", "flow.py", "main", "--timeout", "0.7")
    run.until("Answer here with y or n")
    began = time.monotonic()
    written = run.end(code=1)
    assert time.monotonic() - began < 5
    assert "condition 'approve' was not answered in time\n" in written


def test_ctrl_c_ends_a_run_that_asks(terminal):
    run = terminal("run", "--name", "r1", "flow.py", "main")
    run.until("Answer here with y or n")
    run.type("\x03")
    run.end(code=130)
    (asked,) = signals.conditions_of("r1")
    assert asked.phase == "aborted"


def test_end_of_input_leaves_the_other_ways(terminal, runs):
    run = terminal("run", "--name", "r1", "flow.py", "main")
    run.until("Answer here with y or n")
    run.type("\x04")
    run.until("the terminal gives no answer; it can still be given as said above")
    assert runs.signal("r1", "approve", "y").returncode == 0
    assert run.end().endswith("True\n")


def test_the_terminal_may_be_left_alone(terminal, runs):
    run = terminal("run", "--name", "r1", "flow.py", "main", FLYTE_PROMPT="off")
    run.until("answer with: flyte signal r1 approve VALUE")
    assert runs.signal("r1", "approve", "y").returncode == 0
    assert "Answer here" not in run.end()


def test_flyte_signal_asks_for_a_value_that_is_not_given(terminal, runs):
    process = runs.start("main")
    answering = terminal("signal", "r1", "approve")
    answering.until("Is bool fine?\nThink first.\ny or n: ")
    answering.type("n\n")
    assert answering.end().endswith("condition 'approve' of run r1 is answered, and the run goes on\n")
    assert process.communicate(timeout=30)[0] == "False\n"
