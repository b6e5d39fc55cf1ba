"""A task plugin: a configuration class, and the template that its tasks are made of; here one that asks several times.

$ python examples/task_plugin.py
$ flyte run examples/task_plugin.py main --seed 3
"""

from dataclasses import dataclass
from statistics import median

import flyte
from flyte.extend import AsyncFunctionTaskTemplate, TaskPluginRegistry


@dataclass
class Ensemble:
    size: int


class EnsembleTask(AsyncFunctionTaskTemplate):
    async def execute(self, **inputs: float) -> float:  # inside a run, with retries and cache around it
        ask = super().execute
        return median([await ask(**inputs) for _ in range(self.plugin_config.size)])

    def custom_config(self, sctx: object) -> dict[str, int]:  # what a control plane is told
        return {"ensemble_size": self.plugin_config.size}


TaskPluginRegistry.register(Ensemble, EnsembleTask)
env = flyte.TaskEnvironment(name="ensemble", plugin_config=Ensemble(size=3))
errors = iter([-100.0, 0.0, 100.0])


@env.task
async def main(seed: float = 7.0) -> float:
    return seed + next(errors)


if __name__ == "__main__":
    print(flyte.run(main).result)
