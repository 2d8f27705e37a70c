"""Keep a hub running for as long as a study is served: start it, adopt one that outlived its coordinator, start it again when it ends."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

from wardround.coordinator.folder import Folder
from wardround.engines import hub, hubkeys, hubreload
from wardround.study.errors import StoreError, WardroundError


class Keeper:
    """Keep a hub running: start it, and start it again when it ends.

    Args:
        folder: of the coordinator.
        tell: is told when the hub had to be started again, and why it does not start.

    Attributes:
        trouble: why the hub does not run; empty while it does.
    """

    def __init__(self, folder: Folder, tell: Callable[[str], None]) -> None:
        """Find a running hub or start one.

        Raises:
            MissingExtra: there is no server to start.
            StoreError: it does not start.
        """
        self._folder, self._tell = folder, tell
        self._process: subprocess.Popen[bytes] | None = None
        self._end = threading.Event()
        self._seed = hubkeys.seed(folder.hub_key("admin"))
        self._ours = not folder.settings.url
        self.trouble = ""
        if self._up():
            hubreload.reload(folder.settings.own_url, folder.authority, self._seed)  # it may not have been told of the last change
        else:
            if not self._ours:
                raise StoreError(
                    f"Nothing answers at {folder.settings.url}.", "Start the NATS server there with the hub folder's nats.conf."
                )
            self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the hub, if it is ours: also one that an earlier coordinator, which was killed, had started."""
        self._end.set()
        self._thread.join(5)
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        elif self._ours:
            hub.stop(self._folder.hub, self._folder.settings.own_url, 10)

    def _up(self) -> bool:
        return hub.reachable(self._folder.settings.own_url, self._folder.authority, self._seed)

    def _start(self) -> None:
        self._process = hub.start(hub.binary(self._folder.settings.binary), self._folder.hub)
        for _ in range(100):
            if self._process.poll() is not None:
                break
            if self._up():
                return
            time.sleep(0.05)
        text = "The hub does not start."
        raise StoreError(
            text, f"See {self._folder.hub / 'nats.log'}: the port may be taken, the address not this machine's, or the disk full."
        )

    def _watch(self) -> None:
        """Start the hub again when it ended, however it was started; say once why it does not start."""
        while not self._end.wait(0.5):
            try:
                gone = self._process.poll() is not None if self._process is not None else self._ours and not self._up()
                if gone and not self._end.is_set():
                    if not self.trouble:
                        self._tell("The hub ended and is started again.")
                    self._start()
                if self.trouble and self._up():
                    self.trouble = ""
            except Exception as error:  # an edge: whatever goes wrong once, the hub is looked after
                before, self.trouble = self.trouble, reason(error)
                if self.trouble != before:
                    self._tell(self.trouble)


def reason(error: Exception) -> str:
    """Return what is wrong and what to do; of a foreign error only its kind, since its text may hold anything."""
    return str(error) if isinstance(error, WardroundError) else f"The program itself failed ({type(error).__name__}); please report this."
