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
