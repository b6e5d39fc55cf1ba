"""The structured value of S4 and S11: a nested dataclass of about 1 KB, and the same as a pydantic model."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Line:
    sku: str
    quantity: int
    unit_price: float


@dataclass
class Order:
    number: int
    customer: str
    paid: bool
    total: float
    lines: list[Line]
    labels: dict[str, str]
    history: dict[str, list[int]]
    note: str | None = None


def make_order(i: int) -> Order:
    """The i-th order: the same every time, different for each i."""
    return Order(
        number=i,
        customer=f"customer-{i % 977:06d}",
        paid=i % 3 == 0,
        total=i * 0.25,
        lines=[Line(sku=f"sku-{i % 89:03d}-{k}", quantity=k + 1, unit_price=(i + k) / 8) for k in range(9)],
        labels={f"label-{k}": f"value-{(i * 7 + k) % 1009:04d}" for k in range(10)},
        history={"created": [i, i + 1, i + 2], "changed": list(range(i % 11, i % 11 + 9))},
        note=f"left at door {i}" if i % 2 else None,
    )


def order_model() -> tuple[type, Any]:
    """The pydantic twin and a function that makes the i-th one; pydantic is loaded by whoever asks."""
    import payload_models

    return payload_models.OrderModel, payload_models.make_order_model
