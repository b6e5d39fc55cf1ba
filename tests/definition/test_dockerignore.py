"""What .dockerignore files leave out: of the tag, and of what a builder copies."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte import Image
from flyte._definition.dockerignore import IgnorePatterns
from flyte._definition.layers import DockerIgnore, files_below
from flyte.errors import ImageBuildError


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        (["data"], ["data", "data/a", "data/b/c"], ["src/data", "data2", "datum"]),
        (["/data/"], ["data/a"], ["src/data/a"]),
        (["**/data"], ["data", "a/data", "a/b/data/c"], ["a/database"]),
        (["*.log"], ["a.log", ".log"], ["a/b.log", "a.log.txt/b".replace(".log", "-log")]),
        (["**/*.log"], ["a.log", "a/b.log"], ["alog"]),
        (["a/**/z"], ["a/z", "a/b/c/z"], ["a/b", "z"]),
        (["a/**"], ["a/b", "a/b/c"], ["b/a"]),
        (["?.py"], ["a.py"], ["ab.py", "/.py"]),
        (["[a-c].py"], ["b.py"], ["d.py"]),
        (["[^a].py"], ["b.py"], ["a.py"]),
        ([r"\*.py"], ["*.py"], ["a.py"]),
        (["a.b"], ["a.b"], ["axb"]),
        (["*", "!src", "src/tmp"], ["a", "src/tmp/x"], ["src", "src/a.py"]),
        (["# all", "", "  x  "], ["x"], ["# all"]),
        (["./a//b/"], ["a/b", "a/b/c"], ["b"]),
    ],
)
def test_patterns(patterns, ignored, kept):
    rules = IgnorePatterns(patterns)
    assert [path for path in ignored if not rules.ignores(path)] == []
    assert [path for path in kept if rules.ignores(path)] == []


@given(st.text(alphabet="a*?[]!\\/.-^#", max_size=12), st.text(alphabet="ab/.", max_size=8))
def test_no_pattern_breaks_the_reader(pattern, path):
    try:
        IgnorePatterns([pattern]).ignores(path)
    except ImageBuildError:
        assert re.search(r"\[.*-.*\]", pattern), pattern


def test_what_is_left_out_does_not_come_into_the_tag(tmp_path):
    """A file of this machine that no image gets does not make it build anew."""
    source = tmp_path / "src"
    (source / "tmp" / "deep").mkdir(parents=True)
    (source / "a.py").write_text("1")
    ignore = tmp_path / ".dockerignore"
    ignore.write_text("src/tmp\n**/*.log\n!src/keep.log\n")
    image = Image.from_base("x:1").clone(name="n", extendable=True)

    def tags():
        return [image.with_dockerignore(ignore).with_source_folder(source).uri, image.with_source_folder(source).uri]

    before = tags()
    (source / "tmp" / "deep" / "x").write_text("1")
    (source / "x.log").write_text("1")
    after = tags()
    assert before[0] == after[0] and before[1] != after[1]
    assert [name for name, _ in files_below(source, DockerIgnore(str(ignore)))] == ["a.py"]
    os.mkfifo(source / "pipe")  # has no content, and reading it would never end
    assert tags()[0] == after[0]
    (source / "keep.log").write_text("1")
    assert tags()[0] != after[0]
    with pytest.raises(ImageBuildError, match="gone of the image's recipe cannot be read"):
        _ = image.with_dockerignore(tmp_path / "gone").with_source_folder(source).uri
