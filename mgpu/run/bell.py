"""Signals and bytes in, the keeper awake out: what asks a run to stop, and what wakes the loop that watches it.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os
import select
import signal

from mgpu.run import handover


class Bell:
    """Rung by every signal, and by whoever writes a byte to `rope`. `asked` is how often the run was asked to stop."""

    def __init__(self) -> None:
        self.asked = 0
        self._ear, self.rope = os.pipe()
        os.set_blocking(self._ear, False)
        os.set_blocking(self.rope, False)

    def listen(self) -> None:
        """From now on signals are heard; those that came before are heard first."""
        for number in handover.STOPPING:
            signal.signal(number, self.ask)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.rope, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def ask(self, number: int, _: object) -> None:
        """Someone asks the run to stop: with grace, and the second time or by SIGQUIT at once."""
        self.asked = 2 if number == signal.SIGQUIT else self.asked + 1

    def wait(self, seconds: float) -> None:
        """Sleep until it rings, and so long at most."""
        select.select([self._ear], [], [], seconds)
        try:
            while os.read(self._ear, 512):
                pass
        except BlockingIOError:
            return
