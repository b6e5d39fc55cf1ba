"""A type from another library as a task's value: teach the type engine once, then use it anywhere, also nested.

$ python examples/custom_type.py
$ flyte run examples/custom_type.py main --n 10
"""

from fractions import Fraction

from flyteidl2.core import literals_pb2, types_pb2

import flyte
from flyte.types import TypeEngine, TypeTransformer


class FractionTransformer(TypeTransformer[Fraction]):
    """Carries a fraction as text such as ``"22/7"``: exact, and readable for programs in any language."""

    def __init__(self) -> None:
        super().__init__("fraction", Fraction)

    def get_literal_type(self, t: type[Fraction]) -> types_pb2.LiteralType:
        return types_pb2.LiteralType(simple=types_pb2.STRING)

    async def to_literal(
        self, python_val: Fraction, python_type: type[Fraction], expected: types_pb2.LiteralType
    ) -> literals_pb2.Literal:
        text = literals_pb2.Primitive(string_value=str(python_val))
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=text))

    async def to_python_value(self, lv: literals_pb2.Literal, expected_python_type: type[Fraction]) -> Fraction:
        return Fraction(lv.scalar.primitive.string_value)


TypeEngine.register(FractionTransformer())

env = flyte.TaskEnvironment(name="custom_type")


@env.task
async def add(parts: list[Fraction]) -> Fraction:
    return sum(parts, start=Fraction(0))


@env.task
async def main(n: int = 10) -> str:
    """The n-th harmonic number, exactly.

    :param n: how many terms: 1 + 1/2 + 1/3 + ...
    """
    total = await add([Fraction(1, k) for k in range(1, n + 1)])
    return f"{total} is about {float(total):.4f}"


if __name__ == "__main__":
    print(flyte.run(main, n=10).result)
