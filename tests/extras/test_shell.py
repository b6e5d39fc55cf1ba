"""Shell tasks: what the script becomes, and scripts in real containers."""

import asyncio
from pathlib import Path

import pytest

import flyte
from flyte.errors import RuntimeUserError
from flyte.extras.shell import FlagSpec, Glob, Stderr, Stdout, create
from flyte.io import Dir, File
from flyte.models import SerializationContext


@pytest.fixture(params=["/bin/sh", "/bin/bash"])
def make(request, shell_image):
    """Make a task of a script, for dash and for bash."""

    def made(script: str, **fields):
        return create(fields.pop("name", "tool"), image=shell_image, script=script, shell=request.param, **fields)

    return made


def call(shell, **inputs):
    return asyncio.run(shell(**inputs))


def written(tmp_path: Path, **contents: str) -> list[File]:
    made = []
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        made.append(File.from_local_sync(tmp_path / name))
    return made


TRICKY = "a b; echo 'no' \"$HOME\" `id` $(id) *\t\\"


def test_a_value_is_one_word_whatever_is_in_it(make):
    shell = make("printf '[%s]' {inputs.s} {inputs.n} {inputs.f} {inputs.b} {flags.s} > {outputs.said}",
                 inputs={"s": str, "n": int, "f": float, "b": bool}, outputs={"said": str})  # fmt: skip
    assert call(shell, s=TRICKY, n=-3, f=0.5, b=True) == f"[{TRICKY}][-3][0.5][true][-s][{TRICKY}]"


def test_flags(make, tmp_path):
    shell = make(
        "printf '[%s]' {flags.yes} {flags.no} {flags.n} {flags.none} {flags.file} {flags.gone} {flags.many} > "
        "{outputs.said}",
        inputs={"yes": bool, "no": bool, "n": int, "none": str | None, "file": File, "gone": File | None,
                "many": list[File]},
        outputs={"said": str}, flag_aliases={"n": "--number", "many": ("-I", "repeat")},
    )  # fmt: skip
    one, two = written(tmp_path, a="1", b="2")
    said = call(shell, yes=True, no=False, n=3, file=one, many=[one, two])
    assert said == "[-yes][--number][3][-file][/var/inputs/file][-I][/var/inputs/many/0][-I][/var/inputs/many/1]"


@pytest.mark.parametrize(
    ("spec", "said"),
    [(("-I", "comma"), "[-I][{0},{1}]"), (FlagSpec("-I"), "[-I][{0}][{1}]"),
     (FlagSpec("-I", "join", ":"), "[-I][{0}:{1}]")],
)  # fmt: skip
def test_several_files_behind_one_flag(make, tmp_path, spec, said):
    shell = make("printf '[%s]' {flags.many} > {outputs.said}", inputs={"many": list[File]}, outputs={"said": str},
                 flag_aliases={"many": spec})  # fmt: skip
    assert call(shell, many=written(tmp_path, a="1", b="2")) == said.format("/var/inputs/many/0", "/var/inputs/many/1")


def test_many_files_keep_their_order(make, tmp_path):
    files = written(tmp_path, **{f"f{i}": f"{i} " for i in range(12)})
    shell = make("cat {inputs.many} > {outputs.all}", inputs={"many": list[File]}, outputs={"all": str})
    assert call(shell, many=files).split() == [str(i) for i in range(12)]


def test_all_kinds_of_outputs(make):
    shell = make(
        "echo out; echo err >&2; echo 3 > {outputs.n}; echo x > {outputs.folder}/x; "
        "for i in 1 2; do echo $i > {outputs.parts}/p$i.txt; done; echo y > {outputs.parts}/other",
        outputs={"n": int, "folder": Dir, "parts": Glob("*.txt"), "said": Stdout(str), "err": Stderr()},
    )  # fmt: skip
    n, folder, parts, said, err = call(shell)
    assert (n, said, Path(err.path).read_text()) == (3, "out", "err\n")
    assert Path(folder.path, "x").read_text() == "x\n"
    assert [Path(part.path).read_text() for part in parts] == ["1\n", "2\n"]


def test_defaults(make):
    shell = make("printf '[%s]' {flags.a} {flags.b} {flags.c} > {outputs.said}",
                 inputs={"a": int, "b": int | None, "c": int | None}, defaults={"a": 1, "c": 3},
                 outputs={"said": str})  # fmt: skip
    assert call(shell) == "[-a][1][-c][3]"
    assert call(shell, a=5, b=6, c=7) == "[-a][5][-b][6][-c][7]"


def test_braces_of_the_shell_stay(make):
    shell = make("x=1; echo ${x} {{a}} {b} '{print $1}' > {outputs.said}", outputs={"said": str})
    assert call(shell) == "1 {{a}} {b} {print $1}"


def test_a_failure_is_seen(make, capfd):
    with pytest.raises(RuntimeUserError, match=r"(?s)exit code 4.*oh no"):
        flyte.run(make("echo oh no >&2; exit 4", debug=True).as_task())
    assert "exit 4\n)" in capfd.readouterr().err


def test_called_from_a_task(make, tmp_path):
    count = make("wc -l < {inputs.text} > {outputs.lines}", name="count", inputs={"text": File}, outputs={"lines": int})
    env = flyte.TaskEnvironment(name="flow", image="x:1", depends_on=[count.env])

    @env.task
    async def main(text: File) -> int:
        return await count(text=text)

    (text,) = written(tmp_path, text="a\nb\n")
    assert flyte.run(main, text=text).outputs()[0] == 2


def test_on_the_wire_it_is_a_container():
    shell = create("My Tool", image="x:1", script="true {inputs.a} {flags.b}",
                   inputs={"a": str, "f": File, "b": int | None}, outputs={"all": Glob()})  # fmt: skip
    task = shell.as_task()
    args = task.container_args(SerializationContext(version="v1"))
    assert args[:2] == ["/bin/bash", "-c"] and args[3:] == ["My Tool", "{{.inputs.a}}", "{{.inputs.b}}"]
    assert task.task_type == "raw-container" and shell.env.name == "my-tool" and task.cache.is_enabled()
    assert task.interface.outputs == {"all": Dir} and task.interface.inputs["b"][0] is str


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"script": "{inputs.tabel}", "inputs": {"table": str}}, "names no input; did you mean 'table'"),
        ({"script": "{flags.x}"}, "names no input"),
        ({"script": "{outputs.x}"}, "names no output"),
        ({"script": "{outputs.x}", "outputs": {"x": Stdout()}}, "captured by itself"),
        ({"inputs": {"x": dict[str, str]}}, "inputs of their own"),
        ({"inputs": {"x": object}}, "File, Dir, list"),
        ({"inputs": {"x-y": str}}, "shell's variable"),
        ({"outputs": {"x": list[int]}}, "Glob"),
        ({"flag_aliases": {"x": "-x"}}, "flag_aliases names 'x'"),
        ({"defaults": {"x": 1}}, "defaults names 'x'"),
        ({"inputs": {"x": list[File]}, "flag_aliases": {"x": ("-x", "all")}}, "join, repeat or comma"),
    ],
)
def test_mistakes_are_named_when_it_is_made(fields, words):
    with pytest.raises((TypeError, ValueError), match=words):
        create("tool", image="x:1", **{"script": "true", **fields})
