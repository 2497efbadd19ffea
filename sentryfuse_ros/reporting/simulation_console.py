"""What `sentryfuse simulate` prints about the recordings it made."""

from __future__ import annotations

from ..bags.run_description import RunDescription
from ..simulation.series import SeriesResult, SimulationTask, TimeTaken


def print_simulated(task: SimulationTask, description: RunDescription, taken: TimeTaken) -> None:
    """What was simulated, and how long it took."""
    nuisances = description.nuisances
    disturbed = ", ".join(f"{name} {nuisances[name]:.2f}" for name in description.disturbed) or "nothing"
    print(
        f"{task.out}: world {description.world} ({description.split}), {task.duration_s:g} s at "
        f"{nuisances['speed_mps']:.2f} m/s with {nuisances['payload_kg']:.1f} kg; disturbed by {disturbed}"
    )
    print(
        f"took {taken.wall_s:.1f} s ({task.duration_s / taken.wall_s:.1f}x real time), "
        f"{taken.cpu_s:.1f} s of CPU ({task.duration_s / taken.cpu_s:.1f}x)"
    )


def print_series(task: SimulationTask, result: SeriesResult) -> None:
    """How many recordings there are, and how many were made now."""
    print(
        f"{task.out}: {result.bags} bags of {task.duration_s:g} s ({task.split}), {result.made} of them made now "
        f"in {result.wall_s:.0f} s" + (f"; {result.completed} older ones got their truth.csv" if result.completed else "")
    )
