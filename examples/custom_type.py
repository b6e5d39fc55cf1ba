"""A type from another library as a task's value: teach the type engine once, then use it anywhere, also nested.

$ python examples/custom_type.py
$ flyte run examples/custom_type.py main --parts '["1/2", "1/3", "1/6"]'
"""

from fractions import Fraction

from flyteidl2.core.literals_pb2 import Literal, Primitive, Scalar
from flyteidl2.core.types_pb2 import STRING, LiteralType

import flyte
from flyte.types import TypeEngine, TypeTransformer


class FractionTransformer(TypeTransformer[Fraction]):  # as text such as "22/7": exact, and any language can read it
    def get_literal_type(self, t: type[Fraction]) -> LiteralType:
        return LiteralType(simple=STRING)

    async def to_literal(self, python_val: Fraction, python_type: type[Fraction], expected: LiteralType) -> Literal:
        return Literal(scalar=Scalar(primitive=Primitive(string_value=str(python_val))))

    async def to_python_value(self, lv: Literal, expected_python_type: type[Fraction]) -> Fraction:
        return Fraction(lv.scalar.primitive.string_value)


TypeEngine.register(FractionTransformer("fraction", Fraction))  # or an entry point of the group flyte.plugins.types
env = flyte.TaskEnvironment(name="custom_type")


@env.task
async def main(parts: list[Fraction]) -> Fraction:
    return sum(parts, start=Fraction(0))


if __name__ == "__main__":
    print(flyte.run(main, parts=[Fraction(1, k) for k in range(1, 11)]).result)
