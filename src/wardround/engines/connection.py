"""Hold one connection to a hub for code that is not asynchronous.

The NATS library is asynchronous; the gate and the coordinator are not. One daemon thread runs the event loop, and the methods here hand
work to it and wait. Only the outgoing connection exists: nothing listens. Each request has a time of its own and ends when the line breaks:
the library would let it wait.

Source: NATS protocol and JetStream API, docs.nats.io; nats-py 2.16.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, TypeVar, cast
from urllib.parse import ParseResult, urlsplit

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from wardround.engines.subjects import inbox
from wardround.study.errors import NotAdmitted, StoreError, Unreachable, WardroundError

REQUEST = 2.0
"""Seconds that one request may take before it is tried again."""

READ = 2**20
"""Bytes that are read from the line at a time."""

PING, PINGS = 2, 3
"""Seconds between two pings, and how many without an answer end a line."""

CONNECT = 5.0
"""Seconds that a first connection may take."""

_WAIT = "See that this machine reaches the hub (wardround doctor), then try again; nothing is lost."
_NOT_STORED, _NO_ROOM = 10077, (10023, 10047, 10054)
_Any = TypeVar("_Any")
Handler = Callable[[str, bytes], Awaitable[bytes]]
"""Answers a request: gets subject and data, gives the reply."""


class Missing(Exception):
    """Say that a stream holds nothing under a subject."""


class _Silent(asyncio.StreamReaderProtocol):
    """Let the loop close a TLS line when the other side does; it would warn of a protocol that wants to keep it half open."""

    def eof_received(self) -> bool:
        super().eof_received()
        return False


class _Abrupt(TcpTransport):
    """Drop a dead TLS line at once, for whose goodbye the library would wait half a minute, and read more than 32 KiB at a time."""

    def __bool__(self) -> bool:
        return True  # else the client, which cannot be told of a transport, would put its own in place of one not connected yet

    async def connect_tls(self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int) -> None:
        assert self._io_writer is not None
        loop, name = asyncio.get_running_loop(), uri if isinstance(uri, str) else uri.hostname
        reader = asyncio.StreamReader()
        protocol = _Silent(reader)
        upgraded = loop.start_tls(self._io_writer.transport, protocol, ssl_context, server_hostname=name)
        transport = await asyncio.wait_for(upgraded, connect_timeout)
        if transport is None:  # it was closed meanwhile
            raise ConnectionResetError
        self._io_reader, self._io_writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def read(self, buffer_size: int) -> bytes:
        assert self._io_reader is not None
        return await self._io_reader.read(READ)

    def close(self) -> None:
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    async def wait_closed(self) -> None:
        return None


def tls_context(ca: str) -> ssl.SSLContext:
    """Return what trusts one certificate authority (PEM text) and speaks TLS 1.3 only."""
    context = ssl.create_default_context(cadata=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def listens(url: str) -> None:
    """Do nothing where something listens; the library takes seconds to see that nothing does.

    Raises:
        Unreachable: nothing listens there, or the name is not known.
    """
    place = urlsplit(url)
    try:
        socket.create_connection((str(place.hostname), place.port or 4222), CONNECT).close()
    except OSError as error:
        raise Unreachable(f"Nothing answers at {url} ({error.strerror or type(error).__name__}).", _WAIT) from None


class Connection:
    """Be connected to a hub until closed; comes back by itself when the line or the hub was away.

    Args:
        url: such as `tls://hub.example:4222`.
        ca: the hub's certificate authority, PEM text.
        seed: NATS key of this party.
        owner: token of its own inbox: its slot, or the coordinator.
        stay: come back by itself; False ends at the first trouble, for joining and for a look.

    Raises:
        Unreachable: nothing answers there.
        NotAdmitted: the hub does not know this key.
    """

    def __init__(self, url: str, ca: str, seed: str, owner: str, *, stay: bool = True) -> None:
        """Connect."""
        self.url = url
        self.refused = 0
        self.denied = ""
        self._pulls: dict[str, asyncio.Queue[Msg | None]] = {}
        self._under_way: set[asyncio.Future[Msg]] = set()
        self._inbox = inbox(owner)
        listens(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"hub {owner}", daemon=True)
        self._thread.start()
        self._nats = Client()
        self._nats._transport = _Abrupt()  # type: ignore[no-untyped-call]  # the library has no types
        try:
            self.run(self._connect(url, ca, seed, owner, stay), CONNECT + 1)
        except BaseException:
            self._end()
            raise

    async def _connect(self, url: str, ca: str, seed: str, owner: str, stay: bool) -> None:
        options: dict[str, Any] = {"reconnect_time_wait": 0.5, "tls": tls_context(ca)}
        try:
            await asyncio.wait_for(
                self._nats.connect(
                    url,
                    nkeys_seed_str=seed,
                    inbox_prefix=inbox(owner),
                    error_cb=self._on_error,
                    disconnected_cb=self._on_loss,
                    reconnected_cb=self._on_return,
                    allow_reconnect=stay,
                    connect_timeout=2,
                    max_reconnect_attempts=-1 if stay else 0,
                    ping_interval=PING,
                    max_outstanding_pings=PINGS - 1,
                    **options,
                ),
                CONNECT,
            )
        except (NatsError, OSError, TimeoutError) as error:
            await self._nats.close()
            raise self._told(error) from None

    def _told(self, error: Exception) -> WardroundError:
        """Return what a failed connection means."""
        reason = str(error).lower()
        if "authorization" in reason or self.refused:
            return NotAdmitted(
                "The hub does not admit this key.", "Ask the coordinating centre whether this site was revoked; if not, join again."
            )
        if isinstance(error, ssl.SSLError) or "certificate" in reason:
            return Unreachable("The hub's certificate is not the one of the invite.", "Ask the coordinating centre for a new invite.")
        return Unreachable(f"Nothing answers at {self.url}.", _WAIT)

    async def _on_error(self, error: Exception) -> None:
        reason = str(error).lower()
        if "authorization violation" in reason or "authentication" in reason:
            self.refused += 1
        if "permissions violation" in reason:
            self.denied = reason

    async def _on_loss(self) -> None:
        """End the requests that are under way: their replies would not come any more."""
        for request in self._under_way:
            request.cancel()

    async def _on_return(self) -> None:
        """Have what waits for a message ask again: the hub has forgotten that it was asked."""
        self.refused = 0
        for waiting in self._pulls.values():
            waiting.put_nowait(None)

    @property
    def connected(self) -> bool:
        """Say whether the line is up now."""
        return self._nats.is_connected

    def run(self, work: Coroutine[Any, Any, _Any], timeout: float | None = None) -> _Any:
        """Run a coroutine in the connection's thread and return what it gives.

        Raises:
            Unreachable: it took longer than `timeout` seconds, or the connection is closed.
        """
        if self._loop.is_closed():
            work.close()
            raise Unreachable("The connection was closed.", _WAIT)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except FutureTimeout:
            future.cancel()
            raise Unreachable(f"Nothing answers at {self.url}.", _WAIT) from None
        except CancelledError:
            raise Unreachable("The connection was closed.", _WAIT) from None
        except BaseException:
            future.cancel()
            raise

    async def ask(self, subject: str, data: bytes | memoryview, timeout: float = REQUEST) -> Msg:
        """Send a request and return the first reply.

        Raises:
            Unreachable: no reply in time.
            NotAdmitted: the hub forbids this subject to this key.
        """
        before = self.denied
        joined = cast(bytes, data)  # the library only joins it to other bytes, which a view of a buffer lets itself be, too
        request = asyncio.ensure_future(self._nats.request(subject, joined, timeout=timeout))
        self._under_way.add(request)
        try:
            await asyncio.wait((request,))
        finally:  # where the caller was ended, so is the request
            self._under_way.discard(request)
            request.cancel()
        if request.cancelled():
            raise Unreachable(f"The line to {self.url} broke.", _WAIT)
        try:
            return request.result()
        except (NatsError, TimeoutError, OSError) as error:
            if self.denied != before and subject.lower() in self.denied:
                raise NotAdmitted("The hub forbids this to this key.", "Ask the coordinating centre.") from None
            if isinstance(error, NoRespondersError):
                raise Unreachable("The coordinator is not there.", "Wait until it runs; nothing is lost.") from None
            raise Unreachable(f"Nothing answers at {self.url}.", _WAIT) from None

    def request(self, subject: str, data: bytes, timeout: float = REQUEST) -> bytes:
        """Send a request and return the first reply's data; see `ask`."""
        return self.run(self.ask(subject, data, timeout)).data

    def requests(self, subject: str, count: int, timeout: float = REQUEST) -> list[bytes]:
        """Send one request that several answer, and return the data of up to `count` replies, as far as they come in time."""

        async def gathered() -> list[bytes]:
            heard: asyncio.Queue[Msg] = asyncio.Queue()
            inbox_of_all, found = self._nats.new_inbox(), list[bytes]()
            listening = await self._nats.subscribe(inbox_of_all, cb=heard.put)
            with suppress(NatsError, TimeoutError, OSError):
                await self._nats.publish(subject, b"", reply=inbox_of_all)
                async with asyncio.timeout(timeout):
                    while len(found) < count:
                        found.append((await heard.get()).data)
            with suppress(NatsError):
                await listening.unsubscribe()
            return found

        return self.run(gathered())

    async def store(self, subject: str, data: bytes | memoryview, once: bool = False, timeout: float = REQUEST) -> None:
        """Put a message into the stream of its subject; it is on the hub's disk when this returns.

        No message names itself for the hub to drop repeats: such names count in a whole stream, so that one site could have another's
        message dropped. Whoever reads must know repeats.

        Args:
            subject: of a stream.
            data: to be kept.
            once: the subject holds one message for good; if it is there already, all is well.
            timeout: seconds.

        Raises:
            Unreachable: no answer in time, so whether it was taken is not known; do it again.
            StoreError: the hub has no room for it.
        """
        error = json.loads((await self.ask(subject, data, timeout)).data).get("error")
        if error is None or (once and error.get("err_code") == _NOT_STORED and "per subject" in error.get("description", "")):
            return
        if error.get("err_code") in (_NOT_STORED, *_NO_ROOM):
            raise StoreError(
                "The hub has no room for this.",
                "Room has to be made on the hub's disk, at the coordinating centre; the same is sent again then.",
            )
        raise Unreachable("The hub is not ready.", _WAIT)

    async def direct(self, stream: str, subject: str, timeout: float = REQUEST) -> bytes:
        """Return the message that a stream holds under a subject.

        Raises:
            Missing: there is none.
            Unreachable: no answer in time.
        """
        found = await self.ask(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", timeout)
        status = (found.headers or {}).get("Status")
        if status == "404":
            raise Missing
        if status is not None:
            raise Unreachable("The hub is not ready.", _WAIT)
        return found.data

    async def next(self, stream: str, consumer: str, wait: float) -> Msg | None:
        """Return the next message of a durable consumer, or None when none came within `wait` seconds or the hub is away."""
        own = f"{self._inbox}.pull.{stream}.{consumer}"
        if own not in self._pulls:  # of its own: a message comes under its own subject, by which the library could not tell whose it is
            inbox_of_pull: asyncio.Queue[Msg | None] = asyncio.Queue()
            await self._nats.subscribe(own, cb=inbox_of_pull.put)
            self._pulls[own] = inbox_of_pull
        want = json.dumps({"batch": 1, "expires": int(wait * 1e9)}).encode()
        found: Msg | None = None
        with suppress(NatsError, TimeoutError, OSError):
            if self._pulls[own].empty():
                await self._nats.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", want, reply=own)
            found = await asyncio.wait_for(self._pulls[own].get(), wait + 0.5)
        status = None if found is None else (found.headers or {}).get("Status")
        if status not in (None, "408"):
            await asyncio.sleep(0.2)
        return found if status is None else None

    async def acknowledge(self, message: Msg) -> None:
        """Say that a message is safe here and need not come again."""
        await self._nats.publish(message.reply, b"+ACK")

    def api(self, subject: str, want: dict[str, Any] | None = None, timeout: float = REQUEST) -> dict[str, Any]:
        """Return the reply of a JetStream or system request; an `error` in it is for the caller."""
        data = b"" if want is None else json.dumps(want).encode()
        found: dict[str, Any] = json.loads(self.request(subject, data, timeout))
        return found

    def serve(self, subject: str, handler: Handler) -> None:
        """Answer requests on a subject, for as long as the connection lasts."""

        async def answer(message: Msg) -> None:
            reply = await handler(message.subject, message.data)
            if message.reply and reply:
                await self._nats.publish(message.reply, reply)

        async def subscribe() -> None:
            await self._nats.subscribe(subject, cb=answer)
            await self._nats.flush()

        self.run(subscribe(), REQUEST)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a coroutine in the connection's thread; it ends with the connection."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Send what is under way and let go; a second time nothing happens."""
        if self._loop.is_closed():
            return
        with suppress(Unreachable, NatsError, OSError):  # the hub may have cut the line; whoever closes has something else to say then
            self.run(self._nats.flush(1), 1.5)
        self._end()

    def _end(self) -> None:
        async def stop() -> None:
            with suppress(NatsError, OSError):
                await self._nats.close()
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        with suppress(Unreachable):
            self.run(stop(), 3)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(3)
        if not self._loop.is_running():
            self._loop.close()
