"""Values cross a task's boundary as what they are: the receiver gets an equal value of the same type, never a string.

$ python examples/types_tour.py
$ flyte run examples/types_tour.py main
$ flyte run examples/types_tour.py bake --pizza '{"size": "large", "toppings": ["basil"]}' --minutes 8
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import NamedTuple

from pydantic import BaseModel

import flyte

env = flyte.TaskEnvironment(name="types_tour")


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Pizza:
    size: Size
    toppings: list[str] = field(default_factory=list)
    note: str | None = None


class Customer(BaseModel):
    name: str


class Order(NamedTuple):  # a NamedTuple as the result of a task: several results, each with a name
    customer: Customer
    pizzas: list[Pizza]
    due: datetime
    delay: timedelta
    coupon: int | str
    stock: dict[str, list[int]]


@env.task
async def bake(pizza: Pizza, minutes: int = 10) -> str:
    return f"{pizza.size.name.lower()} pizza with {', '.join(pizza.toppings)}, {minutes} minutes"


@env.task
async def take(
    customer: Customer,
    pizzas: list[Pizza],
    due: datetime,
    delay: timedelta,
    coupon: int | str,
    stock: dict[str, list[int]],
) -> Order:
    return Order(customer, pizzas, due, delay, coupon, stock)


@env.task
async def main() -> list[str]:
    """Send values through a task and compare what comes back."""
    due = datetime(2026, 2, 28, 19, 30, tzinfo=UTC)
    pizzas = [Pizza(Size.LARGE, ["basil"]), Pizza(Size.SMALL, note="no cheese")]
    sent = Order(Customer(name="Ada"), pizzas, due, timedelta(minutes=20), 2026, {"basil": [3, 1], "ham": []})
    back = await take(*sent)
    assert back == sent
    assert [type(value) for value in back] == [type(value) for value in sent]
    return [f"{name}: {value!r}" for name, value in back._asdict().items()]


if __name__ == "__main__":
    print(*flyte.run(main).result, sep="\n")
