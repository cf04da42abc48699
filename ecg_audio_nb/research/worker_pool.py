"""Worker processes that keep the models of their recordings loaded"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process


def _exit_with_parent():
    "End this process as soon as its parent has ended: it would compute for nobody"
    def watch():
        parent_process().join()
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


class WorkerPool:
    "Processes, each with groups of calls of its own; a pool of one is the present process"

    def __init__(
        self,
        n_workers: int,
    ):
        options = dict(mp_context=get_context("spawn"), initializer=_exit_with_parent)
        n_processes = n_workers if n_workers > 1 else 0
        self.processes = [ProcessPoolExecutor(1, **options) for _ in range(n_processes)]

    def run(
        self,
        function: Callable,
        calls: Sequence[tuple[int, tuple]], # group, and arguments of the function
    ) -> Iterator[tuple]: # index of a call and its result, in the order in which the calls end
        """Run calls, those of a group in one process, in order; raises `BrokenProcessPool` if a process is
        lost"""
        if not self.processes:
            for n, (_, arguments) in enumerate(calls):
                yield n, function(*arguments)
            return
        futures = {}
        for n, (group, arguments) in enumerate(calls):
            process = self.processes[group % len(self.processes)]
            futures[process.submit(function, *arguments)] = n
        for future in as_completed(futures):
            yield futures[future], future.result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.shutdown(wait=True, cancel_futures=True)
