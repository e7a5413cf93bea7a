"""Turns of the visitors in the page's queue of jobs."""

from collections import Counter
from typing import Any

JOBS = "job"  # the queue of all that computes; one job runs at a time


class Turns(list):
    """Waiting jobs in which visitors take turns: an n-th job waits behind all (n-1)-th ones."""

    def append(self, event: Any) -> None:
        """Add a job behind those that come before it in turn."""
        turn = sum(other.session_hash == event.session_hash for other in self)
        seen: Counter[str] = Counter()
        for index, other in enumerate(self):
            if seen[other.session_hash] > turn:
                self.insert(index, event)
                return
            seen[other.session_hash] += 1
        super().append(event)


def take_turns(queue: Any) -> None:
    """Let visitors take turns in gradio's queue of jobs, which must have its functions already."""
    jobs = queue.event_queue_per_concurrency_id[JOBS]
    jobs.queue = Turns(jobs.queue)


def waiting(queue: Any, session: str) -> int:
    """How many jobs of a session wait or run in gradio's queue."""
    events = list(queue.event_queue_per_concurrency_id[JOBS].queue)
    for running in queue.active_jobs:
        events += [event for event in running or () if event.concurrency_id == JOBS]
    return sum(event.session_hash == session for event in events)
