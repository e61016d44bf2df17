"""Tasks on a Ray cluster: the same tasks, on whichever machines have room for what they take.

Every machine needs this LesionForge, of the same code, with the extra ``cluster``, and must reach the store. Data goes
to Ray's object store once. A task whose machine is lost is begun again on another, and goes on from what it kept if the
store is a folder that both see. What tasks tell comes back through a queue that lives beside this process.
"""

import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lesionforge.errors import LesionForgeError
from lesionforge.extras import check_extra
from lesionforge.progress import SentProgress
from lesionforge.storage import digest
from lesionforge.tasks.code_version import code_version
from lesionforge.tasks.graph import Task
from lesionforge.tasks.local import LOOK_EVERY_S, TOLD_EVERY_S
from lesionforge.tasks.perform import Failure, Job
from lesionforge.tasks.schedule import Heed, Over
from lesionforge.tasks.shared_store import SharedStore
from lesionforge.tasks.store import FolderStore

LOCAL = "local"
AUTO = "auto"  # the cluster that this machine is of: Ray knows at once
ANSWERS_WITHIN_S = 5.0
ATTEMPTS = 4  # of a task whose machines are lost
AHEAD = 64  # tasks that Ray is given before there is room for them, so that no machine waits for this process


class OnRay:
    """Does tasks on the cluster at ``address``; ``local`` begins one on this machine, of so many ``cpus``.

    Raises
    ------
    LesionForgeError
        Ray is not installed, or no cluster answers at the address.
    """

    def __init__(self, address: str, shared: Any, *, cpus: int) -> None:
        check_cluster(address)
        self._address, self._data, self._cpus = address, shared, cpus
        self._running: dict[Any, str] = {}  # names of tasks, by what will be their ends

    def __enter__(self) -> Self:
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        to = {"num_cpus": self._cpus, "include_dashboard": False} if self._address == LOCAL else {}
        try:
            ray.init(
                None if self._address == LOCAL else self._address, log_to_driver=False, logging_level="error", **to
            )
        except Exception as error:  # Ray's own kinds are many
            raise LesionForgeError(
                f"the Ray cluster at {self._address} cannot be used ({type(error).__name__}: {error}): see that it "
                "runs (`ray status`), and that Ray and Python are of the same versions there and here."
            ) from error
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self._shared = ray.put(self._data)
        self._attempt = ray.remote(_attempt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster; what is being done there is ended."""
        import ray

        ray.shutdown()

    def has_room(self, task: Task) -> bool:  # noqa: ARG002 (Ray places it)
        """Whether Ray may be given one more task."""
        return len(self._running) < AHEAD

    def start(self, job: Job) -> None:
        """Give a task to Ray, with what it takes."""
        asked = job.task.resources
        placed = self._attempt.options(
            num_cpus=asked.cpus,
            num_gpus=asked.gpus,
            memory=asked.memory_gb * 1e9 or None,
            max_retries=ATTEMPTS - 1,
            name=job.task.name,
        )
        self._running[placed.remote(job, self._shared, self._queue, code_version())] = job.task.name

    def wait(self, heed: Heed) -> None:
        """Pass on what tasks tell, and which have come to their ends."""
        import ray

        ended, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=LOOK_EVERY_S)
        self._pass_on(heed)
        for end in ended:
            heed(self._running.pop(end), Over(_outcome(end)))

    def _pass_on(self, heed: Heed) -> None:
        told = self._queue.get_nowait_batch(self._queue.size())
        for name, message in told:
            if name in self._running.values():
                heed(name, message)


def _outcome(end: Any) -> Failure | None:
    import ray

    try:
        failure: Failure | None = ray.get(end)
    except ray.exceptions.RayTaskError as error:  # the task itself raises nothing
        return Failure(f"it could not be begun where Ray had placed it ({type(error.cause).__name__})")
    except ray.exceptions.RayError as error:
        return Failure(f"its machine was lost, or had no memory left, {ATTEMPTS} times ({type(error).__name__})")
    return failure


def _attempt(job: Job, shared: Any, queue: Any, code: str) -> Failure | None:
    """Do a task on whichever machine this is."""
    if code != code_version():
        return Failure(
            f"the machine {socket.gethostname()} has another LesionForge, or other versions of the packages that it "
            "computes with: install the same everywhere."
        )
    if isinstance(job.store, SharedStore):
        near = Path(tempfile.gettempdir()) / f"lesionforge-store-{digest(job.store.url)}"
        job = replace(job, store=replace(job.store, near=FolderStore.opened(near)))
    name = job.task.name
    return job.attempt(shared, SentProgress(lambda message: queue.put((name, message)), every_s=4 * TOLD_EVERY_S))


def check_cluster(address: str) -> None:
    """Raise LesionForgeError, within seconds, if Ray is not there or nobody answers: Ray itself tries for minutes."""
    check_extra("cluster", needed_by="--ray")
    if address in {LOCAL, AUTO}:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise LesionForgeError(f"a Ray cluster's address must be HOST:PORT, auto or local, but {address!r} came.")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWERS_WITHIN_S).close()
    except OSError as error:
        raise LesionForgeError(
            f"no Ray cluster answers at {address} ({error.strerror or type(error).__name__}): start one (`ray start "
            "--head`), check the address and the firewall, or leave --ray out."
        ) from None
