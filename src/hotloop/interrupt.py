"""Ctrl-C, noticed between blocks: nothing is left half done."""

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["InterruptFlag"]


class InterruptFlag:
    """While it is open, the first Ctrl-C only sets `raised`; the second raises KeyboardInterrupt.

    Signals reach the main thread alone, and a handler of the user's own is left in charge; in those
    cases the flag never rises.
    """

    def __init__(self) -> None:
        self.raised = False
        self._installed = False

    def __enter__(self) -> "InterruptFlag":
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.raised:
            raise KeyboardInterrupt
        self.raised = True
