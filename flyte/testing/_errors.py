"""What a test of a workflow can find; each is an ``AssertionError``, so that a test fails rather than errs."""

__all__ = ["DeadlockError", "ReplayDivergenceError", "SimulationError", "UnmockedTaskError"]


class DeadlockError(AssertionError):
    """The workflow waits for something that nothing can bring about; the message says who waits where."""


class UnmockedTaskError(AssertionError):
    """A task that is not mocked was called under ``unmocked="error"``."""


class ReplayDivergenceError(AssertionError):
    """The current code does something else than the recorded run did; the message says what differs."""


class SimulationError(AssertionError):
    """A simulated run broke a rule.

    :param message: what happened, the schedule in words, and how to repeat it.
    :param seed: gives the same run again: ``simulate(workflow, ..., seed=seed, runs=1)``.
    """

    def __init__(self, message: str, seed: int) -> None:
        super().__init__(message)
        self.seed = seed
