"""The same run on this machine, under Slurm, or on a cloud: launched there, and watched.

    from replicate import launch

    plan = launch.Plan.of("runs/a", ["--model=…", …], seeds=(0, 1, 2))
    launch.local.run(plan)                              # here, until it is done
    launch.slurm.submit(plan, launch.slurm.SlurmResources(nodes=2, gpus_per_node=8))
    launch.skypilot.write(plan, launch.skypilot.SkyPilotResources(…), "a.sky.yaml")
    launch.board.table(launch.status.of_folder("runs"))

No environment variable's value is written down by any of them.
"""

from replicate.launch import board, local, skypilot, slurm, status
from replicate.launch.plan import Plan

__all__ = ["Plan", "board", "local", "skypilot", "slurm", "status"]
