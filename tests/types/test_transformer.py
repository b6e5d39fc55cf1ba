"""Types of third parties: by registration, by entry point, in an annotation; each in a process of its own."""

import subprocess
import sys
import textwrap

import pytest

TRANSFORMER = """
import asyncio
from typing import Annotated, Any, Optional, Union
from flyte.types import TypeEngine, TypeTransformer
from flyteidl2.core.literals_pb2 import Literal, Primitive, Scalar
from flyteidl2.core.types_pb2 import LiteralType, SimpleType

class Money:
    def __init__(self, cents):
        self.cents = cents
    def __eq__(self, other):
        return type(other) is type(self) and other.cents == self.cents
    def __repr__(self):
        return f"Money({self.cents})"

class Tip(Money):
    pass

class MoneyTransformer(TypeTransformer[Money]):
    def __init__(self, name="Money", t=Money):
        super().__init__(name, t)
    def get_literal_type(self, t):
        return LiteralType(simple=SimpleType.INTEGER)
    async def to_literal(self, python_val, python_type, expected):
        await asyncio.sleep(0)
        return Literal(scalar=Scalar(primitive=Primitive(integer=python_val.cents)))
    async def to_python_value(self, lv, expected_python_type):
        return Money(lv.scalar.primitive.integer)
"""


def run(tmp_path, body: str, *, env: dict[str, str] | None = None) -> str:
    script = tmp_path / "program.py"
    script.write_text(TRANSFORMER + textwrap.dedent(body))
    # The interpreter's own path, so that only what the test adds is new.
    paths = [str(tmp_path), *sys.path]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}; exec(open({str(script)!r}).read())"],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_a_registered_type_travels_alone_and_inside_containers(tmp_path):
    run(
        tmp_path,
        """
        from flyte.types._engine import codec_for
        from flyte.types._annotations import pickled_parts
        assert codec_for(Money).name == "FlytePickle" and pickled_parts(Money) == ("",)
        TypeEngine.register(MoneyTransformer())
        codec = codec_for(Money)   # what was compiled before is forgotten
        assert codec.name == "Money" and codec.awaits and pickled_parts(list[Money]) == ()
        async def main():
            for annotation, value in (
                (Money, Money(3)),
                (list[Money], [Money(1), Money(2)]),
                (dict[str, list[Money]], {"a": [Money(1)]}),
                (Optional[Money], Money(1)),
                (Optional[Money], None),
                (Union[int, Money], 3),
                (Union[int, Money], Money(3)),
                (list[Union[str, Money]], ["a", Money(3)]),
            ):
                codec = codec_for(annotation)
                assert codec.awaits
                literal = await codec.encode_async(value)
                assert await codec.decode_async(literal) == value, annotation
                received, data = await codec.transfer_async(value)
                from flyte.types._hashing import canonical_bytes
                assert received == value and data == canonical_bytes(literal)
                expected = TypeEngine.to_literal_type(annotation)
                assert await TypeEngine.to_literal(value, annotation, expected) == literal
                assert await TypeEngine.to_python_value(literal, annotation) == value
            for wrong in (3, "x"):
                try:
                    await codec_for(list[Money]).encode_async([Money(1), wrong])
                except TypeError as error:
                    assert "[1]" in str(error) and "Money" in str(error), error
                else:
                    raise AssertionError("not refused")
            try:
                codec_for(Money).encode(Money(1))
            except TypeError as error:
                assert "encode_async" in str(error)
            else:
                raise AssertionError("a coroutine was not awaited")
        asyncio.run(main())
        """,
    )


def test_rules_of_registration(tmp_path):
    run(
        tmp_path,
        """
        transformer = MoneyTransformer()
        TypeEngine.register(transformer)
        TypeEngine.register(transformer)  # the same again is nothing new
        for other in (MoneyTransformer("Other"), MoneyTransformer("Int", int)):
            try:
                TypeEngine.register(other)
            except ValueError as error:
                assert other.name in str(error) and "Annotated" in str(error)
            else:
                raise AssertionError("replaced silently")
        class Extra: ...
        TypeEngine.register_additional_type(transformer, Extra)
        assert TypeEngine.get_transformer(Extra) is transformer
        TypeEngine.register_additional_type(MoneyTransformer("Late"), Extra)
        assert TypeEngine.get_transformer(Extra) is transformer
        late = MoneyTransformer("Late")
        TypeEngine.register_additional_type(late, Extra, override=True)
        assert TypeEngine.get_transformer(Extra) is late
        assert TypeEngine.get_transformer(Tip) is transformer  # by its base class
        assert {Money, Extra, int} <= set(TypeEngine.get_available_transformers())
        """,
    )


def test_restricted_types(tmp_path):
    run(
        tmp_path,
        """
        from flyte.errors import RestrictedTypeError
        from flyte.types._engine import codec_for
        codec_for(list[Money])
        TypeEngine.register_restricted_type("money", Money)
        for annotation in (Money, list[Money], Optional[Money]):
            try:
                codec_for(annotation)
            except RestrictedTypeError as error:
                assert "money" in str(error)
            else:
                raise AssertionError("not refused")
        """,
    )


def test_a_transformer_in_the_annotation_decides(tmp_path):
    run(
        tmp_path,
        """
        class AsText(TypeTransformer[int]):
            def get_literal_type(self, t):
                return LiteralType(simple=SimpleType.STRING)
            async def to_literal(self, python_val, python_type, expected):
                return Literal(scalar=Scalar(primitive=Primitive(string_value=str(python_val))))
            async def to_python_value(self, lv, expected_python_type):
                return int(lv.scalar.primitive.string_value)
        from flyte.types._engine import codec_for
        annotation = Annotated[int, AsText("text", int)]
        async def main():
            literal = await codec_for(annotation).encode_async(3)
            assert literal.scalar.primitive.string_value == "3"
            assert await codec_for(annotation).decode_async(literal) == 3
            assert TypeEngine.to_literal_type(list[annotation]).collection_type.simple == SimpleType.STRING
        asyncio.run(main())
        assert codec_for(int).encode(3).scalar.primitive.integer == 3
        """,
    )


def distribution(tmp_path, name: str, entry: str, module: str) -> None:
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("")
    (info / "entry_points.txt").write_text(f"[flyte.plugins.types]\n{entry}\n")
    (tmp_path / f"{name}.py").write_text(module)


@pytest.mark.parametrize("form", ["callable", "module"])
def test_an_installed_package_adds_its_types(tmp_path, form):
    (tmp_path / "moneyclasses.py").write_text(TRANSFORMER)
    module = "from moneyclasses import *\ndef install():\n    TypeEngine.register(MoneyTransformer())\n"
    if form == "module":
        module += "install()\n"
    distribution(tmp_path, "moneytypes", "money = moneytypes" + (":install" if form == "callable" else ""), module)
    distribution(tmp_path, "brokentypes", "broken = brokentypes", "raise RuntimeError('out of order')\n")
    output = run(
        tmp_path,
        """
        import sys
        from flyte.types._engine import codec_for
        codec_for(dict[str, list[int]])
        assert "moneytypes" not in sys.modules  # not needed so far
        import moneyclasses
        codec = codec_for(moneyclasses.Money)
        assert codec.name == "Money", codec.name
        assert codec_for(Money).name == "FlytePickle"
        """,
    )
    assert "brokentypes" in output and "out of order" in output and "skipped" in output
    assert output.count("out of order") == 1


def test_the_defaults_of_the_base_class(tmp_path):
    run(
        tmp_path,
        """
        from flyte.errors import TypeTransformerFailedError
        class Bare(TypeTransformer[Money]): ...
        bare = Bare("bare", Money)
        assert (bare.name, bare.python_type, bare.type_assertions_enabled) == ("bare", Money, True)
        bare.assert_type(Money, Tip(1))
        bare.assert_type(list[int], [1])
        for call, error in (
            (lambda: bare.assert_type(Money, 3), TypeTransformerFailedError),
            (lambda: bare.get_literal_type(Money), NotImplementedError),
            (lambda: asyncio.run(bare.to_literal(Money(1), Money, LiteralType())), NotImplementedError),
            (lambda: asyncio.run(bare.to_python_value(Literal(), Money)), NotImplementedError),
            (lambda: bare.guess_python_type(LiteralType()), ValueError),
        ):
            try:
                call()
            except error:
                continue
            raise AssertionError(error)
        assert bare.isinstance_generic([1], list[str]) and not bare.isinstance_generic(1, list[str])
        assert bare.to_html("<b>", str) == "&lt;b&gt;"
        assert bare.schema_match({"title": "Money"}) is False
        """,
    )
