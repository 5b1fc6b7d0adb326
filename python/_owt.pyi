"""The module that nginx's worker gives to the package owt (src/bindings.cpp): the call and the log."""

from collections.abc import Callable, Sequence
from sys import UnraisableHookArgs

Headers = Sequence[tuple[str, str]]

class Call:
    """One run of an endpoint for one request. Every method may be called from any Python thread."""

    @property
    def connection(self) -> int:
        """nginx's number of the request's connection, as in the error log (``*12``)."""
    @property
    def cancelled(self) -> bool:
        """The client has gone, the time is up or the worker quits: nobody waits for the result."""
    @property
    def show_traceback(self) -> bool:
        """owt_traceback: whether the client may see an adaptor's traceback."""
    @property
    def code(self) -> bytes:
        """The source as it came; empty where only its id was sent."""
    @property
    def published(self) -> bool:
        """The configuration has chosen what is called: all fields are arguments."""
    def publication(self) -> tuple[tuple[str, str, str, str, bool, bool], str]:
        """Where something is published, what the location says of that, as ``runtime.publish`` gets it, and the name
        that the request has for the function."""
    def environ(self) -> dict[str, str]:
        """A new dict of the request's CGI variables as PEP 3333 wants them (latin-1), REQUEST_SCHEME among them,
        without the ``wsgi.`` keys."""
    def body(self) -> bytes:
        """The body, where nginx holds it in memory; else empty."""
    def body_fd(self) -> int:
        """A new descriptor, at offset 0, of the file to which nginx spooled the body (the caller closes it), or -1."""
    def read_form(self, form: list[tuple[str, str]]) -> tuple[str, str, dict[str, object], str | None]:
        """Reads parameters from a multipart form's text fields.

        Returns the code's id, the function's name, the keyword arguments and the text of ``kwargs``, as ``run`` gets
        them. Raises ValueError whose text is what to tell the client (a 400).
        """
    @property
    def repeated(self) -> dict[str, list[str]]:
        """All texts of the keyword arguments that came as fields more than once, by their names. (Of JSON's none: there
        the last counts.)"""
    @property
    def looks_later(self) -> bool:
        """The parameters, now that they have been read, ask for the cache: the call is to be parked."""
    @property
    def key_has_arguments(self) -> bool:
        """The key in the cache is made of the arguments too."""
    def park(self, further: str, rest: object) -> None:
        """Leaves the call to nginx, which looks for a kept result once this thread is done with it. If there is none,
        ``runtime.run`` gets the call again, and with it rest. further tells apart arguments that are no text."""
    def loaded(self, seconds: float) -> None:
        """Says how long loading the endpoint took (Server-Timing)."""
    def refuse(self, status: int, type: str, detail: str) -> None:
        """Answers with an error as text or problem+json, whichever the client accepts better; type may be empty."""
    def respond(self, status: int, headers: Headers, body: bytes | str) -> None:
        """Answers whole. Content-Length is computed. Raises ValueError on a header or status that cannot be sent."""
    def send_file(self, status: int, headers: Headers, fd: int, name: str) -> None:
        """Answers with the regular file open as fd (owned from here on), from its start, by nginx itself: sendfile,
        ranges, ETag; its type from name's extension unless headers give one."""
    def start(self, status: int, headers: Headers) -> None:
        """Begins a streamed answer; the head travels with the first chunk. Raises ValueError as ``respond``."""
    def write(self, chunk: bytes | str) -> None:
        """Sends a chunk at once, an empty one just the head if that has not gone. Then waits (without the GIL) while
        more than owt_stream_buffer waits for the client. Raises owt.Cancelled once the call is cancelled. For the
        thread that runs the call."""
    def offer(self, chunk: bytes | str) -> bool:
        """As ``write`` but never waits: False says to write no more until ``runtime.resume(call)`` is called."""
    def finish(self) -> None:
        """Ends a streamed answer properly."""
    def abort(self, status: int = 0, type: str = "", detail: str = "") -> None:
        """Ends a streamed answer so that the client sees it fail. Who asked for ``events`` is told the problem."""
    @property
    def trace_id(self) -> str:
        """Of the trace that the call belongs to, as its ``traceparent`` says; empty if to none."""
    @property
    def events(self) -> bool:
        """The client has asked to be told what becomes of the call."""
    def say(self, by: int, text: str | bytes, at_once: bool) -> None:
        """Tells what the call prints, where the client has asked for ``events``. by: 0 stdout, 1 stderr, 2 logging.
        Never waits. What is no whole line goes along with what comes next, unless it is to go at_once."""
    def progress(self, json: str) -> None:
        """Tells how far the call is, where the client has asked for ``events``: the last one counts."""
    def detach(self) -> bool:
        """The call goes on after ``runtime.run`` has returned, until ``release`` (async). False if there are too many
        of its kind: then it has been refused. Raises owt.Cancelled if nobody waits for it any more."""
    def to_threads(self) -> None:
        """A call that ``take`` gave is not for the loop after all: a thread will run it."""
    def release(self) -> None:
        """A detached call is over."""
    def check(self) -> None:
        """Raises owt.Cancelled if nobody waits for the call any more. For the thread that runs it."""
    def wait_for_load(self, load: int, rest: tuple[object, dict[str, object]]) -> bool:
        """Says that the call waits for a load by its number, without a thread: when that has ended ``runtime.run`` gets
        the call again, and with it rest. False if too many wait already."""

def logs(level: int) -> bool:
    """Whether the error log takes lines of this level, one of nginx's."""

def log(level: int, connection: int, text: str) -> None:
    """Writes one line to nginx's error log. level is nginx's (4 error, 5 warn, 6 notice, 7 info), connection its number
    or 0 for none."""

def unraisable(hook: Callable[[UnraisableHookArgs], object], raised: UnraisableHookArgs) -> None:
    """What ``sys.unraisablehook`` gets, for hook, which that was; but where it is ``Cancelled``, raised where no
    exception leaves, the calling thread's call is cancelled once more."""

def stack_of(thread: int) -> str:
    """The Python stack of the thread with this identity, as it writes it itself, whatever it is doing. Empty if it
    cannot."""

def load_begins() -> int:
    """The calling thread begins to load an endpoint: until ``load_ends`` its call is not interrupted and does not count
    as stuck, whoever has left. The load's number."""

def load_ends(load: int) -> None:
    """The load of this number has ended. Calls that wait for it go on."""

def take() -> tuple[Call, str, str, dict[str, object], str | None] | None:
    """The next call of a function that is known to be ``asynchronous``, detached already: what ``runtime.run`` gets.
    None if there is none."""

def queue_fd() -> int:
    """A descriptor that is readable while ``take`` has something to give."""

def asynchronous(code_id: str, fn_name: str) -> None:
    """Says that an endpoint's function is a coroutine function or an asynchronous generator function: its calls come
    to ``take`` from now on."""

def replaced(code_id: str) -> None:
    """Another endpoint answers in this name: which of its functions are ``asynchronous`` has to be said anew."""

def forget(code_id: str) -> None:
    """This endpoint is dropped: it is no longer loaded, and its calls do not come to ``take`` any more."""

def has(code_id: str) -> None:
    """Says that this endpoint is loaded, until ``forget``."""

def answers(file: str, version: str) -> None:
    """Calls of this published file are answered by the source with this SHA-256 from now on."""

def changes(file: str) -> None:
    """Who answers calls of this published file is about to change, and results are not kept until ``answers``."""

def loop_came_back() -> None:
    """Says that a loop which ``runtime.overdue`` has reported as lost is there again."""

def grace() -> float:
    """The instance's grace, in seconds."""

def part_directory() -> bool:
    """Gives the calling thread a working directory and a umask of its own, which threads that it starts share. False
    where the system does not let it."""

def endpoints() -> int:
    """The instance's endpoints: so many stay loaded."""

def idle() -> float:
    """The instance's idle, in seconds; 0 if it has none."""

def trim() -> None:
    """Hands memory that C's allocator has free back to the system."""

def relieved(helped: bool) -> None:
    """Says that what ``runtime.relieve`` was asked for has been done, and whether the process is below that now."""

def retire(why: str) -> None:
    """The process is to be replaced once its calls have ended: the interpreter is damaged beyond repair, or nothing is
    loaded in it any more. why: for the log."""

def reserved_signals() -> list[int]:
    """The signals that nginx itself uses in this process."""

def after_fork_in_child() -> None:
    """Closes the listening and client sockets that a forked child has inherited from the worker."""

def failed() -> None:
    """The call that this thread runs has failed for a reason that is not its own. Several in a row replace the
    process."""
