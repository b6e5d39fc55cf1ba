"""A type and its transformer, as written by a third party for the published package."""

from typing import List, Optional, Type

from flyteidl2.core import literals_pb2, types_pb2

import flyte
from flyte.types import TypeEngine, TypeTransformer
from transcript import attempt, show


class Money:
    def __init__(self, cents: int):
        self.cents = cents

    def __eq__(self, other):
        return isinstance(other, Money) and other.cents == self.cents


class MoneyTransformer(TypeTransformer[Money]):
    def __init__(self):
        super().__init__(name="money", t=Money)

    def get_literal_type(self, t: Type[Money]) -> types_pb2.LiteralType:
        return types_pb2.LiteralType(simple=types_pb2.SimpleType.INTEGER)

    async def to_literal(self, python_val: Money, python_type: Type[Money], expected: types_pb2.LiteralType) -> literals_pb2.Literal:
        return literals_pb2.Literal(
            scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=python_val.cents))
        )

    async def to_python_value(self, lv: literals_pb2.Literal, expected_python_type: Type[Money]) -> Money:
        return Money(lv.scalar.primitive.integer)


TypeEngine.register(MoneyTransformer())
env = flyte.TaskEnvironment("money_env")


@env.task
async def double(x: Money) -> Money:
    return Money(x.cents * 2)


@env.task
async def total(xs: List[Money], extra: Optional[Money] = None) -> Money:
    return Money(sum(x.cents for x in xs) + (extra.cents if extra else 0))


@env.task
async def main(n: int) -> int:
    parts = [await double(Money(i)) for i in range(n)]
    return (await total(parts, Money(1))).cents + (await total(xs=parts)).cents


attempt("double", lambda: flyte.run(double, Money(3)).outputs()[0].cents)
attempt("main", lambda: flyte.run(main, 4).outputs()[0])
attempt("wrong", lambda: flyte.run(double, "x").outputs()[0].cents)
attempt("wrong list", lambda: flyte.run(total, [Money(1), 2]).outputs()[0].cents)
show("transformer", type(TypeEngine.get_transformer(Money)).__name__)
show("name", TypeEngine.get_transformer(Money).name)
show("python_type", TypeEngine.get_transformer(Money).python_type)
attempt("twice", lambda: TypeEngine.register(MoneyTransformer()))
attempt("additional", lambda: TypeEngine.register_additional_type(MoneyTransformer(), bytearray, override=True))
attempt("instance", lambda: issubclass(MoneyTransformer, TypeTransformer))
attempt("assertions", lambda: TypeEngine.get_transformer(Money).type_assertions_enabled)
attempt("assert_type", lambda: TypeEngine.get_transformer(Money).assert_type(Money, Money(1)))
attempt("assert_type wrong", lambda: TypeEngine.get_transformer(Money).assert_type(Money, 1))


class Old:
    pass


class NoGuess(TypeTransformer[Old]):
    def __init__(self):
        super().__init__("old", Old)

    def get_literal_type(self, t=None):
        return types_pb2.LiteralType(simple=types_pb2.SimpleType.STRING)

    async def to_literal(self, python_val, python_type, expected):
        raise RuntimeError("cannot")

    async def to_python_value(self, lv, expected_python_type):
        return Old()


TypeEngine.register(NoGuess())


@env.task
async def old(x: Old) -> int:
    return 1


attempt("failing transformer", lambda: flyte.run(old, Old()).outputs()[0])
