"""flyte.syncify over a class method."""

from flyte.syncify import syncify
from transcript import attempt, show


def define():
    class Thing:
        def __init__(self, x):
            self.x = x

        @syncify
        @classmethod
        async def make(cls, x: int) -> "Thing":
            return cls(x)

    return Thing


def define_other():
    class Thing:
        @classmethod
        @syncify
        async def make(cls, x: int) -> int:
            return x

    return Thing


attempt("inner", lambda: define().make(3).x)
attempt("outer", lambda: define_other().make(3))
