"""The event loop that all asynchronous calls share, and what keeps them apart on it.

What one call asks of the loop as if it were its own (that all tasks end, that asynchronous generators be
closed, another executor, another handler of exceptions) holds for that call alone.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from owt.process.context import current
from owt.process.request import Request

Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


@dataclass(slots=True)
class _Wishes:
    """What a call has asked of the loop."""

    factory: Any = None
    executor: Executor | None = None
    handler: Handler | None = None


class SharedLoop(asyncio.SelectorEventLoop):
    """The loop as each of its calls sees it; to who asks outside of a call, an ordinary loop."""

    def __init__(self) -> None:
        super().__init__()
        self._wishes: WeakKeyDictionary[Request, _Wishes] = WeakKeyDictionary()

    def _wish(self) -> _Wishes | None:
        """The running call's, to be changed; None where no call runs."""
        request = current.get(None)
        return None if request is None else self._wishes.setdefault(request, _Wishes())

    def _wished(self) -> _Wishes | None:
        request = current.get(None)
        return None if request is None or not self._wishes else self._wishes.get(request)

    # ---- tasks

    def create_task(self, coro: Any, *, context: Context | None = None, **options: Any) -> asyncio.Task[Any]:
        """A task that belongs to the call in whose context it will run."""
        request = current.get(None) if context is None else context.get(current)
        wished = self._wished()
        if wished is None or wished.factory is None:
            task = super().create_task(coro, context=context, **options)
        else:
            super().set_task_factory(wished.factory)
            try:
                task = super().create_task(coro, context=context, **options)
            finally:
                super().set_task_factory(None)
        if request is not None:
            task._owt_request = request  # type: ignore[attr-defined]
        return task

    def set_task_factory(self, factory: Any) -> None:
        """How the running call's tasks are made."""
        wish = self._wish()
        if wish is None:
            super().set_task_factory(factory)
        elif factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        else:
            wish.factory = factory

    def get_task_factory(self) -> Any:
        """How the running call's tasks are made, if it has said so."""
        wished = self._wished()
        return super().get_task_factory() if wished is None else wished.factory

    # ---- the end of what others use as well

    def close(self) -> None:
        """Is not for calls: RuntimeError, as ever of a loop that runs."""
        raise RuntimeError("Cannot close a running event loop")

    def end(self) -> None:
        """Closes the loop, which has stopped."""
        super().close()

    async def shutdown_asyncgens(self) -> None:
        """Closes all asynchronous generators; leaves that to the end of each call where one asks."""
        if current.get(None) is None:
            await super().shutdown_asyncgens()

    async def shutdown_default_executor(self, *timeout: Any, **options: Any) -> None:
        """Shuts down the running call's own executor, if it has set one."""
        wish = self._wish()
        if wish is None:
            await super().shutdown_default_executor(*timeout, **options)
        elif wish.executor is not None:
            await super().run_in_executor(None, functools.partial(wish.executor.shutdown, wait=True))

    def set_default_executor(self, executor: Any) -> None:
        """The executor of the running call."""
        wish = self._wish()
        if wish is None:
            super().set_default_executor(executor)
        elif isinstance(executor, ThreadPoolExecutor):
            wish.executor = executor
        else:
            raise TypeError("executor must be ThreadPoolExecutor instance")

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Where no executor is named, that of the running call, else that of all."""
        if executor is None:
            wished = self._wished()
            executor = None if wished is None else wished.executor
        return super().run_in_executor(executor, func, *args)

    # ---- what is told of the loop

    def set_debug(self, enabled: bool) -> None:
        """Is not for calls: it would slow down all."""
        if current.get(None) is None:
            super().set_debug(enabled)

    def set_exception_handler(self, handler: Handler | None) -> None:
        """Who is told of exceptions that nobody else gets, of the running call's."""
        wish = self._wish()
        if wish is None:
            super().set_exception_handler(handler)
        elif handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        else:
            wish.handler = handler

    def get_exception_handler(self) -> Any:
        """What the running call has set."""
        wished = self._wished()
        return super().get_exception_handler() if wished is None else wished.handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tells the call whose task or callback it was."""
        request = _request_of(context)
        wished = self._wishes.get(request) if request is not None else None
        if wished is None or wished.handler is None:
            super().call_exception_handler(context)
            return
        try:
            wished.handler(self, context)
        except Exception as error:
            self.default_exception_handler(
                {"message": "Unhandled error in exception handler", "exception": error, "context": context}
            )


def _request_of(context: dict[str, Any]) -> Request | None:
    """Whose the task or callback is that an exception handler gets to know of."""
    for name in ("task", "future"):
        request = getattr(context.get(name), "_owt_request", None)
        if isinstance(request, Request):
            return request
    run_in = getattr(context.get("handle"), "_context", None)
    return run_in.get(current) if isinstance(run_in, Context) else None


def request_of(task: asyncio.Task[Any] | None) -> Request | None:
    """The call that a task of a shared loop belongs to."""
    return getattr(task, "_owt_request", None)


#: As asyncio has it: all tasks of a loop that have not ended.
all_tasks = asyncio.all_tasks


def guard() -> None:
    """Makes ``asyncio.all_tasks`` leave out tasks of other calls on a shared loop: those who ask mostly cancel them.

    And lets the shared loop start processes under whatever policy an adaptor has set, for its own loops and for good:
    before CPython 3.14 a loop asks the policy who looks after its children, and uvloop's has nobody.
    """
    asyncio.all_tasks = asyncio.tasks.all_tasks = _tasks_of_the_call
    if sys.version_info < (3, 14):
        python = asyncio.DefaultEventLoopPolicy()
        asyncio.AbstractEventLoopPolicy.get_child_watcher = lambda _: python.get_child_watcher()  # type: ignore


@functools.wraps(all_tasks)
def _tasks_of_the_call(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
    if loop is None:
        loop = asyncio.get_running_loop()
    tasks = all_tasks(loop)
    if not isinstance(loop, SharedLoop):
        return tasks
    mine = current.get(None)
    return {task for task in tasks if request_of(task) is mine}
