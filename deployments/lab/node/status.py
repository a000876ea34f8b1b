"""What the node says of a pod: pure functions from containers to `status`."""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.api import Object
    from node.container import Container


def moment() -> str:
    """Now, as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def of_container(container: "Container") -> "Object":
    """One entry of containerStatuses."""
    return {
        "name": container.spec["name"],
        "image": container.spec["image"],
        "imageID": container.image_id,
        "ready": container.ready,
        "started": container.started,
        "restartCount": container.restarts,
        "state": container.state,
        "lastState": container.last_state,
    }


def phase(containers: Sequence["Container"], inits: Sequence["Container"], over: bool) -> str:
    """Pending until all containers have run once; at the end, as the exit codes say."""
    if over:
        codes = [container.exit_code for container in [*containers, *inits]]
        return "Succeeded" if all(code == 0 for code in codes) else "Failed"
    if any("waiting" in container.state and not container.last_state for container in containers):
        return "Pending"
    return "Running"


def conditions(
    containers: Sequence["Container"], inits: Sequence["Container"], phase: str, previous: Sequence["Object"]
) -> list["Object"]:
    """The conditions of a pod; one that did not change keeps its time."""
    unready = [container.spec["name"] for container in containers if not container.ready]
    why = "PodCompleted" if phase == "Succeeded" else "PodFailed" if phase == "Failed" else "ContainersNotReady"
    message = f"containers with unready status: [{' '.join(unready)}]"
    initialized = all(container.exit_code == 0 for container in inits)
    values = {
        "PodScheduled": (True, "", ""),
        "Initialized": (initialized, "" if initialized else "ContainersNotInitialized", ""),
        "ContainersReady": (not unready, why, message),
        "Ready": (not unready, why, message),
    }
    known = {condition["type"]: condition for condition in previous}
    return [_condition(name, *value, known.get(name)) for name, value in values.items()]


def _condition(name: str, holds: bool, reason: str, message: str, before: "Object | None") -> "Object":
    condition: Object = {"type": name, "status": str(holds)}
    if not holds:
        condition |= {"reason": reason, "message": message}
    changed = not before or before["status"] != condition["status"]
    return condition | {"lastTransitionTime": moment() if changed else before["lastTransitionTime"]}
