"""The pydantic twin of ``payload.Order``; in a module of its own, so that only what needs pydantic loads it."""

from pydantic import BaseModel


class LineModel(BaseModel):
    sku: str
    quantity: int
    unit_price: float


class OrderModel(BaseModel):
    number: int
    customer: str
    paid: bool
    total: float
    lines: list[LineModel]
    labels: dict[str, str]
    history: dict[str, list[int]]
    note: str | None = None


def make_order_model(i: int) -> OrderModel:
    """The i-th order, with the values of ``payload.make_order``; built as a program would, not converted.

    Converting a dataclass took five times as long as building the model, on every system, and hid what is compared.
    """
    return OrderModel(
        number=i,
        customer=f"customer-{i % 977:06d}",
        paid=i % 3 == 0,
        total=i * 0.25,
        lines=[LineModel(sku=f"sku-{i % 89:03d}-{k}", quantity=k + 1, unit_price=(i + k) / 8) for k in range(9)],
        labels={f"label-{k}": f"value-{(i * 7 + k) % 1009:04d}" for k in range(10)},
        history={"created": [i, i + 1, i + 2], "changed": list(range(i % 11, i % 11 + 9))},
        note=f"left at door {i}" if i % 2 else None,
    )
