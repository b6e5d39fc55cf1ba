"""Warm worker processes: the attempts of a run on more than one core.

`pool` stands in for ``run_attempt`` (``Execution.attempt``) and decides with `slots` which attempt runs when and with
`replicas` where; `process` is a worker as the run sees it, `program` is the worker itself. Between them run messages
(`channel`): values as literals of their declared types, tasks by their address (`addresses`), failures (`failures`).
Retries, time limits, cache and history stay with the controller of the run's own process.
"""
