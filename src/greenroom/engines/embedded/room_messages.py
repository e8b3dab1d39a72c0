"""`send`: a message to a room's members is checked, numbered and published; nothing of it is stored (R6)."""

from __future__ import annotations

from greenroom.core.rate_limit import TokenBucket
from greenroom.core.rooms.marks import next_number
from greenroom.core.rooms.requests import SendMessage
from greenroom.engines.embedded.room_rows import CLOSED, MessageBook, RoomRow
from greenroom.engines.embedded.room_steps import check_protocol
from greenroom.engines.embedded.rows import ENDED
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.rooms import RoomMessage
from greenroom.errors import NotAMemberError, NotFoundError, RateLimitedError


def send_message(tx: Transaction, request: SendMessage) -> int:
    check_protocol(tx)
    room = tx.room(request.app, request.room)
    is_open = room is not None and room.state != CLOSED
    if request.sender and not (is_open and _is_member(tx, request)):
        raise NotAMemberError
    if room is None or not is_open:
        raise NotFoundError("There is no such room.")
    books = tx.state.rooms.books
    book = books.get(room.n)
    if book is None:
        book = books[room.n] = MessageBook()
    book.forget_ids(tx.clock)
    known = book.ids.get((request.sender, request.message_id))
    if known is not None:
        return known[0]
    if request.sender:
        _take_budget(tx, book, request)
    # Above the roster's version too: that is in the file, so numbers rise across a restart whose clock was set back.
    book.last = next_number(max(book.last, room.version), tx.now * 1000)
    book.ids[request.sender, request.message_id] = book.last, tx.clock
    _publish(tx, room, request, book.last)
    return book.last


def _is_member(tx: Transaction, request: SendMessage) -> bool:
    row = tx.session(request.session_id)
    return (
        row is not None
        and row.state < ENDED
        and row.app == request.app
        and row.data.participant_id == request.sender
        and request.room in row.data.rooms
    )


def _take_budget(tx: Transaction, book: MessageBook, request: SendMessage) -> None:
    """Of a participant and of all in the room; the backend has its own limits. Raises RateLimitedError."""
    now, size, limits = tx.clock / 1000, len(request.message), request.limits
    rate = limits.room_bytes_per_second
    if book.all is None or book.all.rate != rate:
        book.all = TokenBucket(rate, rate, now)
    own = book.of.get(request.sender)
    rate = limits.message_bytes_per_second
    if own is None or own.rate != rate:
        own = book.of[request.sender] = TokenBucket(rate, rate, now)
    wait = max(book.all.wait(now, size), own.wait(now, size))
    if wait > 0:
        raise RateLimitedError("Too much is sent to the room.", retry_after=min(wait, 1.0))
    book.all.take(now, size)
    own.take(now, size)


def _publish(tx: Transaction, room: RoomRow, request: SendMessage, number: int) -> None:
    tx.room_news.append(
        RoomMessage(
            app=room.app,
            room=room.name,
            number=number,
            sender=request.sender or request.on_behalf_of,
            session_id=request.session_id,
            message=request.message,
            to=request.to,
        )
    )
