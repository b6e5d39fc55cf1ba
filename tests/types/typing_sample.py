"""What a type checker sees of ``flyte.types``; checked by test_typing, never run."""

from typing import Any, assert_type

from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.core.types_pb2 import LiteralType, SimpleType

from flyte.types import FlytePickle, TypeEngine, TypeTransformer, TypeTransformerFailedError, literal_string_repr


class Money:
    cents: int = 0


class MoneyTransformer(TypeTransformer[Money]):
    def get_literal_type(self, t: type[Money]) -> LiteralType:
        return LiteralType(simple=SimpleType.INTEGER)

    async def to_literal(self, python_val: Money, python_type: type[Money], expected: LiteralType) -> Literal:
        return await TypeEngine.to_literal(python_val.cents, int, expected)

    async def to_python_value(self, lv: Literal, expected_python_type: type[Money]) -> Money:
        money = Money()
        money.cents = await TypeEngine.to_python_value(lv, int)
        return money


transformer = MoneyTransformer("Money", Money)
assert_type(transformer.name, str)
assert_type(transformer.python_type, type[Money])
TypeEngine.register(transformer, additional_types=[int])
assert_type(TypeEngine.to_literal_type(list[int]), LiteralType)
assert_type(literal_string_repr(Literal()), Any)
raise_it: type[TypeError] = TypeTransformerFailedError


def sends(value: FlytePickle[Money]) -> None: ...


MoneyTransformer("Money", 3)  # type: ignore[arg-type]  # not a class
TypeEngine.register("Money")  # type: ignore[arg-type]  # not a transformer
TypeEngine.no_such_method()  # type: ignore[attr-defined]
